package token_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

func TestSessionToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	signed := f.issuer.Claims("user_1", "org_1", "admin")
	claims := f.accepted(t, f.issuer.Sign(signed), "")
	require.Equal(t, "user_1", claims.UserID)
	require.Equal(t, "sess_2SessionOfTheTests", claims.SessionID)
	require.Equal(t, app, claims.AuthorizedParty)
	require.Equal(t, &token.Org{ID: "org_1", Slug: "slug-of-the-tests", Role: "org:admin"}, claims.Org)
	require.Equal(t, signed["iat"], claims.IssuedAt.Unix())
	require.Equal(t, signed["exp"], claims.ExpiresAt.Unix())
	want, err := json.Marshal(signed)
	require.NoError(t, err)
	require.Equal(t, string(want), string(claims.JSON), "as signed")
}

// TestAccepted: what is unusual and still Clerk's.
func TestAccepted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, raw := range map[string]string{
		"no organization":        f.issuer.Session("user_1"),
		"organization is null":   f.signed(func(c map[string]any) { c["o"] = nil }),
		"no cat, as old tokens":  f.signed(nil, map[string]any{"cat": nil}),
		"no typ":                 f.signed(nil, map[string]any{"typ": nil}),
		"unknown header":         f.signed(nil, map[string]any{"oiat": 5, "x": []int{1}}),
		"unknown claims":         f.signed(func(c map[string]any) { c["metadata"] = map[string]any{"plan": "free"} }),
		"impersonation":          f.signed(func(c map[string]any) { c["act"] = map[string]any{"sub": "user_2"} }),
		"neither nbf nor iat":    f.signed(func(c map[string]any) { delete(c, "nbf"); delete(c, "iat") }),
		"no sts":                 f.signed(func(c map[string]any) { delete(c, "sts") }),
		"an audience of its own": f.signed(func(c map[string]any) { c["aud"] = []string{"x"} }),
		"a clock 5 s behind":     f.signed(func(c map[string]any) { c["iat"] = f.clock.now().Unix() + 5 }),
		"its last second":        f.signed(func(c map[string]any) { c["exp"] = f.clock.now().Unix() + 1 }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, "user_1", f.accepted(t, raw, "").UserID)
		})
	}
}

func TestTemplateToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.issuer.Template("user_1", audience, map[string]any{"org_id": "org_1", "plan": "free"})
	claims := f.accepted(t, raw, audience)
	require.Equal(t, "user_1", claims.UserID)
	require.Empty(t, claims.SessionID)
	require.Equal(t, &token.Org{ID: "org_1"}, claims.Org)

	f.refused(t, raw, "", token.Category, "call getToken() without a template")
	f.refused(t, raw, "billing", token.AudienceMismatch, `not for the audience "billing"; make a JWT template in the Clerk dashboard → JWT templates with the claim {"aud": "billing"}`)
	f.refused(t, raw, "else", token.AudienceMismatch, `CLERK_AUDIENCE of clerksync does not list "else": add it and restart, or correct audience= in the gateway`)
	f.refused(t, raw, strings.Repeat("x", 200), token.AudienceMismatch, "CLERK_AUDIENCE of clerksync does not list this audience: ")
	f.accepted(t, raw, audience)

	several := f.issuer.Template("user_1", audience, map[string]any{"aud": []string{"x", "billing", audience}})
	f.accepted(t, several, audience)
	f.accepted(t, several, "billing")
	f.refused(t, several, "x", token.AudienceMismatch, "CLERK_AUDIENCE")

	for name, change := range map[string]map[string]any{
		"no audience": {"aud": nil}, "none of several": {"aud": []string{}}, "a part of it": {"aud": "order"}, "longer": {"aud": "orders2"},
		"other case": {"aud": "Orders"}, "empty": {"aud": ""}, "in a list": {"aud": []string{"orders "}},
	} {
		t.Log(name)
		f.refused(t, f.issuer.Template("user_1", audience, change), audience, token.AudienceMismatch, "JWT template")
	}
	f.refused(t, f.issuer.Template("user_1", audience, map[string]any{"aud": []any{audience, 5}}), audience, token.Invalid, "claims")

	// A cached token is not taken for what it is not.
	session := f.issuer.Session("user_1")
	f.accepted(t, session, "")
	f.refused(t, session, audience, token.AudienceMismatch, "JWT template")
}

// TestOrganization: of version 1, which has it flat, and version 2, which has it nested.
func TestOrganization(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	v1 := func(more map[string]any) func(map[string]any) {
		return func(c map[string]any) {
			delete(c, "o")
			delete(c, "v")
			for name, v := range more {
				c[name] = v
			}
		}
	}
	for _, test := range []struct {
		name   string
		change func(map[string]any)
		org    *token.Org
	}{
		{"version 1", v1(map[string]any{
			"org_id": "org_1", "org_slug": "acme", "org_role": "org:admin", "org_permissions": []string{"org:teams:read"},
		}), &token.Org{ID: "org_1", Slug: "acme", Role: "org:admin", Permissions: []string{"org:teams:read"}}},
		{"version 1 of long ago", v1(map[string]any{"org_id": "org_1", "org_role": "admin"}), &token.Org{ID: "org_1", Role: "org:admin"}},
		{"version 1 without one", v1(map[string]any{"org_id": nil, "org_role": nil, "org_slug": nil, "org_permissions": nil}), nil},
		{"a template without one", v1(map[string]any{"org_id": ""}), nil},
		{"both agree", func(c map[string]any) { c["org_id"] = "org_1" }, &token.Org{ID: "org_1", Slug: "slug-of-the-tests", Role: "org:admin"}},
		{"a role of its own", func(c map[string]any) { c["o"] = map[string]any{"id": "org_1", "rol": "billing_manager"} }, &token.Org{ID: "org_1", Role: "org:billing_manager"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.org, f.accepted(t, f.signed(test.change), "").Org)
		})
	}
	for name, change := range map[string]func(map[string]any){
		"two that disagree":     func(c map[string]any) { c["org_id"] = "org_2" },
		"nested without an id":  func(c map[string]any) { c["o"] = map[string]any{"rol": "admin"} },
		"empty, and a flat one": func(c map[string]any) { c["o"] = map[string]any{}; c["org_id"] = "org_1" },
		"not a name of an org":  func(c map[string]any) { c["o"] = map[string]any{"id": "user_1", "rol": "admin"} },
		"a subject's wildcard":  func(c map[string]any) { c["o"] = map[string]any{"id": "org_1.>", "rol": "admin"} },
		"a header's end":        func(c map[string]any) { c["o"] = map[string]any{"id": "org_1", "rol": "a\r\nX-Clerk-Role: org:admin"} },
		"a role of nothing":     func(c map[string]any) { c["o"] = map[string]any{"id": "org_1", "rol": "org:"} },
		"not an object":         func(c map[string]any) { c["o"] = "org_1" },
		"an id that is none":    v1(map[string]any{"org_id": "{{org.id}}"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.refused(t, f.signed(change), "", token.Invalid, "claims")
		})
	}
}

// TestPermissions: masks of version 2. The examples are those of Clerk's documentation,
// and what it had to correct in its own libraries.
func TestPermissions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	names := func(n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("p%d", i)
		}
		return strings.Join(all, ",")
	}
	for _, test := range []struct {
		name          string
		fea, per, fpm string
		granted       []string
	}{
		{"one feature", "o:dashboard", "read,manage", "3", []string{"org:dashboard:read", "org:dashboard:manage"}},
		{"each its mask", "o:dashboard,o:teams,o:impersonation", "manage,read", "3,2,0", []string{"org:dashboard:manage", "org:dashboard:read", "org:teams:read"}},
		{"only those of organizations have masks", "u:chat,o:dashboard,uo:teams", "manage,read", "1,2", []string{"org:dashboard:manage", "org:teams:read"}},
		{"spaces", "o:dashboard, o:teams", "manage, read", "1, 2", []string{"org:dashboard:manage", "org:teams:read"}},
		{"bit 53", "o:f", names(54), "9007199254740992", []string{"org:f:p53"}},
		{"bits 0 and 53, which a float cannot hold", "o:f", names(54), "9007199254740993", []string{"org:f:p0", "org:f:p53"}},
		{"bit 63", "o:f", names(64), "9223372036854775808", []string{"org:f:p63"}},
		{"bit 64", "o:f", names(65), "18446744073709551616", []string{"org:f:p64"}},
		{"bit 100", "o:f", names(101), "1267650600228229401496703205377", []string{"org:f:p0", "org:f:p100"}},
		{"bits beyond the names", "o:f", "read", "7", []string{"org:f:read"}},
		{"no name", "o:f", "", "1", nil},
		{"no mask", "o:f", "read", "", nil},
		{"more features than masks", "o:f,o:g", "read", "1", []string{"org:f:read"}},
		{"more masks than features", "o:f", "read", "1,1", []string{"org:f:read"}},
		{"no features", "", "read", "1", nil},
		{"negative: 64 bits that overflowed", "o:f,o:g", "read", "-9223372036854775807,1", []string{"org:g:read"}},
		{"hexadecimal", "o:f,o:g", "read", "0x1,1", []string{"org:g:read"}},
		{"a fraction", "o:f,o:g", "read", "1.0,1", []string{"org:g:read"}},
		{"an exponent", "o:f", "read", "1e0", nil},
		{"a sign", "o:f", "read", "+1", nil},
		{"an underscore", "o:f", "read", "1_1", nil},
		{"a digit of another script", "o:f", "read", "١", nil},
		{"an empty mask", "o:f,o:g", "read", ",1", []string{"org:g:read"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			org := f.accepted(t, f.signed(func(c map[string]any) {
				c["fea"] = test.fea
				c["o"] = map[string]any{"id": "org_1", "rol": "admin", "per": test.per, "fpm": test.fpm}
			}), "").Org
			require.Equal(t, test.granted, org.Permissions)
		})
	}
}

func TestNormalRole(t *testing.T) {
	t.Parallel()
	for role, want := range map[string]string{"": "", "admin": "org:admin", "org:admin": "org:admin", "organizer": "org:organizer"} {
		require.Equal(t, want, token.NormalRole(role))
	}
}

// TestParties: none are checked when none are configured, and tokens without one are taken
// only when that is asked for.
func TestParties(t *testing.T) {
	t.Parallel()
	open := newFixture(t, func(o *token.Options) { o.AuthorizedParties = nil })
	none := newFixture(t, func(o *token.Options) { o.AuthorizedParties = []string{"https://other.example", token.NoParty} })
	without := func(c map[string]any) { delete(c, "azp") }
	open.accepted(t, open.signed(nil), "")
	open.accepted(t, open.signed(without), "")
	none.accepted(t, none.signed(without), "")
	none.refused(t, none.signed(nil), "", token.Invalid, "another application")
	none.refused(t, none.signed(func(c map[string]any) { c["azp"] = "https://other.example.evil.example" }), "", token.Invalid, "another application")
	newFixture(t).refused(t, none.signed(without), "", token.Invalid, "native apps")
}

// TestOptionsAreCopied: a caller may go on with its lists, and leave out what is no origin.
func TestOptionsAreCopied(t *testing.T) {
	t.Parallel()
	parties := []string{token.NoParty, app}
	f := newFixture(t, func(o *token.Options) { o.AuthorizedParties = parties })
	parties[0], parties[1] = "https://else.example", ""
	f.accepted(t, f.signed(nil), "")
	f.accepted(t, f.signed(func(c map[string]any) { delete(c, "azp") }), "")
}

// TestWarnings: of what the configuration leaves open, and of a Clerk that is away, once.
func TestWarnings(t *testing.T) {
	t.Parallel()
	logged := func(change func(*token.Options)) (*fixture, *bytes.Buffer) {
		var log bytes.Buffer
		f := newFixture(t, func(o *token.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) }, change)
		return f, &log
	}
	_, log := logged(func(*token.Options) {})
	require.Empty(t, log)
	_, log = logged(func(o *token.Options) { o.AuthorizedParties = nil })
	require.Contains(t, log.String(), "level=WARN msg=\"CLERK_AUTHORIZED_PARTIES is not set, so a token that Clerk made for any of your applications is taken; ")

	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	f, log := logged(func(o *token.Options) { o.Key, o.Issuer = "", server.URL })
	for range 3 {
		f.refused(t, f.signed(nil), "", token.KeysUnavailable, "")
		f.clock.advance(time.Minute)
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log)
	require.Contains(t, log.String(), `the answer is 404; is the issuer the Frontend API URL of the instance`)
}

// TestExpires: also of a token that is in the cache.
func TestExpires(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.issuer.Session("user_1")
	life := f.accepted(t, raw, "").ExpiresAt.Sub(f.clock.now())
	f.clock.advance(life - time.Nanosecond)
	f.accepted(t, raw, "")
	require.Equal(t, 1.0, testkit.Values(t, f.registry, "clerksync_tokens_total")["cached"])
	f.clock.advance(time.Nanosecond)
	for range 2 {
		f.refused(t, raw, "", token.Expired, "call Clerk's getToken() for every request")
	}
}

// TestVerifiedOnce: and counted by its result.
func TestVerifiedOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	raw := f.issuer.Session("user_1")
	first := f.accepted(t, raw, "")
	for range 9 {
		require.Same(t, first, f.accepted(t, raw, ""))
	}
	f.refused(t, "", "", token.Missing, "send the header Authorization: Bearer")
	f.refused(t, raw+"x", "", token.Invalid, "")
	f.refused(t, raw, audience, token.AudienceMismatch, "")
	f.refused(t, f.signed(nil, map[string]any{"cat": testkit.MachineToken}), "", token.Category, "machine")
	f.refused(t, f.signed(func(c map[string]any) { c["exp"] = 1 }), "", token.Expired, "")
	require.Equal(t, map[string]float64{
		"verified": 1, "cached": 9, "token_missing": 1, "token_invalid": 1, "token_expired": 1, "token_category": 1, "audience_mismatch": 1, "keys_unavailable": 0,
	}, testkit.Values(t, f.registry, "clerksync_tokens_total"))
}

func TestNew(t *testing.T) {
	t.Parallel()
	_, err := token.New(token.Options{})
	require.EqualError(t, err, "no key for tokens: set CLERK_JWT_KEY, CLERK_FRONTEND_API_URL or CLERK_PUBLISHABLE_KEY (Clerk dashboard → API keys)")
	_, err = token.New(token.Options{Key: "x"})
	require.EqualError(t, err, "CLERK_JWT_KEY: not a public key in PEM: was it copied whole? It is the key itself, not the name of a file, and is in the Clerk dashboard → API keys")
}
