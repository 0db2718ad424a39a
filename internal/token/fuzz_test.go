package token_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

// FuzzVerify: whatever is taken was signed by our key, with RS256, for us, and is in time.
// A second reader finds that out, which decodes with the standard library. Of each input
// there are two tokens: as it is, and its header and claims signed, which otherwise would
// never be.
func FuzzVerify(f *testing.F) {
	x := newFixture(f)
	now := time.Unix(1_790_000_000, 0)
	x.clock.nanoseconds.Store(now.UnixNano())
	other := testkit.NewTokenIssuer(f)
	other.Now = x.clock.now
	template := map[string]any{"cat": testkit.TemplateToken}
	for _, raw := range []string{
		x.signed(nil), x.issuer.Session("user_1"), other.Session("user_1"), x.signed(nil, map[string]any{"cat": nil}),
		x.issuer.Template("user_1", audience, map[string]any{"org_id": "org_1", "org_role": "admin", "aud": []string{"x", audience}}),
		x.signed(func(c map[string]any) { c["exp"] = now.Unix() }), x.signed(func(c map[string]any) { delete(c, "exp") }),
		x.signed(func(c map[string]any) { c["nbf"] = now.Unix() + 6 }), x.signed(func(c map[string]any) { c["sts"] = "pending" }, template),
		x.signed(func(c map[string]any) {
			c["fea"], c["o"] = "o:a,u:b,uo:c", map[string]any{"id": "org_1", "rol": "admin", "per": "read,manage", "fpm": "3,18446744073709551616"}
		}),
		x.signed(nil, map[string]any{"alg": "none"}), x.signed(nil, map[string]any{"crit": []string{"b64"}, "b64": false}), "a.b.c", "..", "a.b.c.d.e",
	} {
		parts := strings.Split(raw+"..", ".")
		header, _ := base64.RawURLEncoding.DecodeString(parts[0])
		claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
		f.Add(raw, header, claims, audience)
		f.Add(raw, header, claims, "")
	}
	f.Fuzz(func(t *testing.T, raw string, header, claims []byte, audience string) {
		for _, raw := range []string{raw, x.issuer.SignJSON(header, claims)} {
			for range 2 { // the second time out of the cache
				got, err := x.verifier.Verify(t.Context(), raw, audience)
				if err == nil {
					checkTaken(t, raw, audience, now, got)
				}
			}
		}
	})
}

// checkTaken fails when a token must not be taken, or its claims are others.
func checkTaken(t *testing.T, raw, audience string, now time.Time, got *token.Claims) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || len(raw) > 8<<10 {
		t.Fatalf("%d parts in %d bytes", len(parts), len(raw))
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&ownKey().PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		t.Fatal("not signed by our key")
	}
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	if _, critical := header["crit"]; critical || header["alg"] != "RS256" {
		t.Fatalf("header %v", header)
	}
	if exp, ok := claims["exp"].(float64); !ok || exp <= float64(now.Unix()) || got.ExpiresAt.Unix() != int64(exp) {
		t.Fatalf("exp %v, and now is %d", claims["exp"], now.Unix())
	}
	for _, name := range []string{"nbf", "iat"} {
		if at, ok := claims[name].(float64); ok && at > float64(now.Unix()+5) {
			t.Fatalf("%s %v, and now is %d", name, at, now.Unix())
		}
	}
	if claims["iss"] != "https://clerk.app.example" || claims["azp"] != app || claims["sub"] != got.UserID || claims["sts"] == "pending" {
		t.Fatalf("claims %v", claims)
	}
	if !clerk.ValidToken(got.UserID) || got.Org != nil && !clerk.ValidToken(got.Org.ID) {
		t.Fatalf("ids %q", got.UserID)
	}
	switch cat, has := header["cat"]; {
	case audience == "" && (has && cat != testkit.SessionToken || claims["sid"] != got.SessionID || got.SessionID == ""):
		t.Fatalf("taken as a session: cat %v, sid %v", cat, claims["sid"])
	case audience != "" && (cat != testkit.TemplateToken || !strings.Contains(strings.Join(listOf(claims["aud"]), " "), audience)):
		t.Fatalf("taken for %s: cat %v, aud %v", audience, cat, claims["aud"])
	}
}

// listOf returns a claim that may be one text or several.
func listOf(claim any) []string {
	if one, ok := claim.(string); ok {
		return []string{one}
	}
	var all []string
	several, _ := claim.([]any)
	for _, item := range several {
		one, _ := item.(string)
		all = append(all, one)
	}
	return all
}
