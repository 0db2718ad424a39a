//go:build examples

package examples

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/testkit"
)

// Of testdata/events: Ada is an admin of the one, Ben of the other.
const (
	acmeOrg  = "org_2synth0000000000000000Acme1"
	birchOrg = "org_2synth000000000000000Birch1"
)

const (
	origin       = "https://app.example"
	secretKey    = "sk_live_2SecretKeyOfTheTests"
	endedSession = "sess_2Ended"
)

var microservicesFolder = filepath.Join(folder, "microservices")

// orders, reports and inventory are the services: in Node, Python and Go.
var serviceNames = []string{"orders", "reports", "inventory"}

// microservices are the running services, without anything in front of them.
type microservices struct {
	sync   *clerksync
	issuer *testkit.TokenIssuer
	env    []string          // of a program that verifies tokens
	urls   map[string]string // by service
}

// startMicroservices starts clerksync and the three services over its rows. settings are
// variables of the services.
func startMicroservices(t *testing.T, c *clerksync, issuer *testkit.TokenIssuer, settings ...string) *microservices {
	t.Helper()
	c.send(t, "user.created", "organization.created", "organizationMembership.created",
		"user.created--ben", "organization.created--birch", "organizationMembership.created--ben")
	m := &microservices{sync: c, issuer: issuer, urls: map[string]string{}}
	m.env = []string{"CLERK_JWT_KEY=" + issuer.PEM, "CLERK_FRONTEND_API_URL=" + issuer.Issuer, "CLERK_AUTHORIZED_PARTIES=" + origin}

	inventory := filepath.Join(t.TempDir(), "inventory")
	require.NoError(t, run(filepath.Join(microservicesFolder, "go"), "go", "build", "-o", inventory, "."))
	env := append(append(m.env, "PORT=0", "DATABASE_URL="+m.reader(t)), settings...)
	m.urls["orders"] = listening(start(t, filepath.Join(microservicesFolder, "node"), env, "node", "orders.js"))
	m.urls["reports"] = listening(start(t, filepath.Join(microservicesFolder, "python"), env, "/usr/bin/python3", "reports.py"))
	m.urls["inventory"] = listening(start(t, microservicesFolder, env, inventory))
	return m
}

// reader returns the URL of the database for the role of reader.sql. A role is one of the
// server that all tests share, so it gets a name of its own.
func (m *microservices) reader(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(m.sync.DatabaseURL)
	require.NoError(t, err)
	role := "services_of_" + strings.TrimPrefix(u.Path, "/")
	sql, err := os.ReadFile(filepath.Join(microservicesFolder, "reader.sql"))
	require.NoError(t, err)
	conn := m.sync.connect(t)
	_, err = conn.Exec(t.Context(), regexp.MustCompile(`\bservices\b`).ReplaceAllString(string(sql), role))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "ALTER ROLE "+role+" PASSWORD 'of-the-tests'")
	require.NoError(t, err)
	u.User = url.UserPassword(role, "of-the-tests")
	return u.String()
}

// listening waits until a program has printed where it listens, and returns that.
func listening(p *process) (address string) {
	p.t.Helper()
	line := regexp.MustCompile(`: (http://127\.0\.0\.1:\d+)\n`)
	p.await(func() (bool, any) {
		found := line.FindStringSubmatch(p.output.String())
		if found == nil {
			return false, p.output.String()
		}
		address = found[1]
		return true, nil
	})
	return address
}

// gateway starts the gateway in front of services at these addresses, with a Backend API.
func (m *microservices) gateway(t *testing.T, api *backendAPI, urls map[string]string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/sessions/{session}/tokens/{template}", api.sessionToken)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	env := append(m.env, "PORT=0", "CLERK_API_URL="+server.URL, "CLERK_SECRET_KEY="+secretKey, "CLERK_PUBLISHABLE_KEY="+publishableKey(m.issuer),
		"CLERK_TELEMETRY_DISABLED=1")
	for name, address := range urls {
		env = append(env, strings.ToUpper(name)+"_URL="+address)
	}
	return listening(start(t, filepath.Join(microservicesFolder, "node"), env, "node", "gateway.js"))
}

// backendAPI is one route of Clerk's Backend API: a token of a session from a JWT
// template. As with Clerk, the token has no sid, and no azp, since no browser asked.
type backendAPI struct {
	issuer *testkit.TokenIssuer

	mu        sync.Mutex
	templates map[string]map[string]any // of the dashboard: name to claims
	activeOrg string                    // what the shortcode {{org.id}} stands for
	lifetime  int64                     // of the tokens, in seconds
	refusal   func(http.ResponseWriter) // answers instead, if set
	calls     map[string]int            // by template
}

// reset makes the instance as it should be: a template for each service, Ada's sessions,
// Acme active in each.
func (b *backendAPI) reset() {
	b.set(func() {
		b.templates, b.activeOrg, b.lifetime, b.refusal, b.calls = map[string]map[string]any{}, acmeOrg, 60, nil, map[string]int{}
		for _, name := range serviceNames {
			b.templates[name] = map[string]any{"aud": name, "org_id": "{{org.id}}"}
		}
	})
}

// set changes the instance.
func (b *backendAPI) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// called returns how often a token was asked for, by template.
func (b *backendAPI) called() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.calls)
}

// sessionToken handles POST /v1/sessions/{session}/tokens/{template}.
func (b *backendAPI) sessionToken(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := r.PathValue("template")
	b.calls[name]++
	template, found := b.templates[name]
	switch {
	case b.refusal != nil:
		b.refusal(w)
	case r.Header.Get("Authorization") != "Bearer "+secretKey:
		refuseKey(w)
	case r.PathValue("session") == endedSession:
		clerkError(w, http.StatusNotFound, "resource_not_found", "Session not found", "No session was found with id "+r.PathValue("session"))
	case !found:
		clerkError(w, http.StatusNotFound, "resource_not_found", "JWT template not found", "No JWT template exists with name: "+name)
	default:
		writeJSON(w, http.StatusOK, map[string]any{"object": "token", "jwt": b.token(template)})
	}
}

func (b *backendAPI) token(template map[string]any) string {
	now := time.Now().Unix()
	claims := map[string]any{"iss": b.issuer.Issuer, "sub": ada, "iat": now, "nbf": now - 5, "exp": now + b.lifetime, "jti": rand.Text()}
	for name, value := range template {
		if value == "{{org.id}}" {
			value = b.activeOrg
		}
		claims[name] = value
	}
	return b.issuer.Sign(claims, map[string]any{"cat": testkit.TemplateToken})
}

func refuseKey(w http.ResponseWriter) {
	clerkError(w, http.StatusUnauthorized, "clerk_key_invalid", "The provided Clerk Secret Key is invalid.", "Make sure that your Clerk Secret Key is correct.")
}

func clerkError(w http.ResponseWriter, status int, code, message, long string) {
	writeJSON(w, status, map[string]any{
		"errors":         []any{map[string]any{"code": code, "message": message, "long_message": long}},
		"clerk_trace_id": "d1c4a3e0f5b60718",
	})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// post sends a body. headers are names and values in turn.
func post(t *testing.T, url, body string, headers ...string) response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return do(t, request)
}

// requireCaller checks the answer of a service to Ada in Acme.
func requireCaller(t *testing.T, service string, r response) {
	t.Helper()
	require.Equal(t, http.StatusOK, r.StatusCode, r.Body)
	require.JSONEq(t, fmt.Sprintf(`{"service": %q, "user": {"id": %q, "name": "Ada Example"}, "organization": {"id": %q, "name": "Acme Analytics"}, "role": "org:admin"}`,
		service, ada, acmeOrg), r.Body)
}

// TestMicroservices: each service takes tokens that Clerk made for it and no others, and
// the gateway calls each with such a token.
func TestMicroservices(t *testing.T) {
	m := startMicroservices(t, startClerksync(t), testkit.NewTokenIssuer(t))
	for _, service := range serviceNames {
		t.Run(service, func(t *testing.T) { testTokens(t, m, service) })
	}
	t.Run("a banned member is refused", func(t *testing.T) {
		const banned = "user_2synth00000000000000Banned1"
		m.sync.send(t, "user.updated--banned")
		at := time.Now().UnixMilli()
		membership := testkit.Event("", "organizationMembership.created", at, testkit.MembershipData("orgmem_2Banned", banned, acmeOrg, "org:member", at, at))
		require.Equal(t, http.StatusNoContent, deliver(t, m.sync.Endpoint, m.sync.Secret, signing.NewID(), membership.Body))
		m.sync.awaitApplied(t)
		var found bool
		require.NoError(t, m.sync.connect(t).QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM org_memberships WHERE clerk_id = 'orgmem_2Banned')").Scan(&found))
		require.True(t, found)
		for _, service := range serviceNames {
			token := m.issuer.Template(banned, service, map[string]any{"org_id": acmeOrg})
			requireProblem(t, get(t, m.urls[service], bearer(token)...), http.StatusForbidden, "not_a_member")
		}
	})
	t.Run("gateway", func(t *testing.T) { testGateway(t, m) }) // the last: it removes a member
}

// testGateway: a session token reaches each service as a token of its own, and what is
// wrong at Clerk is answered with the setting to change.
func testGateway(t *testing.T, m *microservices) {
	issuer := m.issuer
	api := &backendAPI{issuer: issuer}
	api.reset()
	gateway := m.gateway(t, api, m.urls)

	// session returns a token of a new session, of which the gateway has kept nothing.
	session := func(org ...string) string {
		claims := issuer.Claims(ada, org...)
		claims["sid"] = "sess_" + rand.Text()
		return issuer.Sign(claims)
	}
	call := func(t *testing.T, service, token string) response {
		t.Helper()
		return get(t, gateway+"/"+service, bearer(token)...)
	}

	t.Run("each service answers", func(t *testing.T) {
		token := session(acmeOrg, "admin")
		for _, service := range serviceNames {
			requireCaller(t, service, call(t, service, token))
			requireCaller(t, service, call(t, service+"/", token))
		}
	})
	t.Run("a service sees its own token only", func(t *testing.T) {
		var seen http.Header
		var body []byte
		recorder := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			seen = r.Header
			body, _ = io.ReadAll(r.Body)
		}))
		defer recorder.Close()
		urls := maps.Clone(m.urls)
		urls["orders"], urls["reports"] = recorder.URL, "http://127.0.0.1:"+freePort(t)
		gateway := m.gateway(t, api, urls)
		token := session(acmeOrg, "admin")
		require.Equal(t, http.StatusOK, post(t, gateway+"/orders/", `{"item": 7}`, "Authorization", "Bearer "+token, "Cookie", "__session="+token,
			"Content-Type", "application/json", "X-Clerk-User-Id", "user_other").StatusCode)
		require.JSONEq(t, `{"item": 7}`, string(body))
		require.Equal(t, "application/json", seen.Get("Content-Type"))
		for name, values := range seen {
			require.NotContains(t, strings.Join(values, " "), token, name)
		}
		require.Empty(t, seen.Get("Cookie"))
		require.Empty(t, seen.Get("X-Clerk-User-Id"))
		requireCaller(t, "orders", get(t, m.urls["orders"], "Authorization", seen.Get("Authorization")))

		requireProblem(t, get(t, gateway+"/reports/", bearer(token)...), http.StatusBadGateway, "service_unavailable")
	})
	t.Run("a path cannot lead elsewhere", func(t *testing.T) {
		for _, path := range []string{"orders//elsewhere.example/", "orders@elsewhere.example/", "constructor"} {
			requireProblem(t, call(t, path, session(acmeOrg, "admin")), http.StatusNotFound, "not_found")
		}
	})
	t.Run("a body has a limit", func(t *testing.T) {
		api.reset()
		answer := post(t, gateway+"/orders/", strings.Repeat("x", 1<<20+1), bearer(session(acmeOrg, "admin"))...)
		requireProblem(t, answer, http.StatusRequestEntityTooLarge, "request_refused")
		require.Empty(t, api.called())
	})
	t.Run("a token is asked for once", func(t *testing.T) {
		api.reset()
		token := session(acmeOrg, "admin")
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() { call(t, "orders", token) })
		}
		group.Wait()
		require.Equal(t, map[string]int{"orders": 1}, api.called())
		call(t, "reports", token)
		require.Equal(t, map[string]int{"orders": 1, "reports": 1}, api.called())
		call(t, "orders", session(acmeOrg, "admin"))
		require.Equal(t, map[string]int{"orders": 2, "reports": 1}, api.called(), "another session has another token")
	})
	t.Run("a token is renewed before it expires", func(t *testing.T) {
		api.reset()
		api.set(func() { api.lifetime = 9 }) // less than a token that is handed out is good for
		token := session(acmeOrg, "admin")
		for n := range 3 {
			requireCaller(t, "orders", call(t, "orders", token))
			require.Equal(t, map[string]int{"orders": n + 1}, api.called())
		}
	})
	t.Run("only a session token is taken", func(t *testing.T) {
		api.reset()
		changed := func(changes map[string]any) map[string]any {
			claims := issuer.Claims(ada, acmeOrg, "admin")
			maps.Copy(claims, changes)
			return claims
		}
		withoutParty := changed(nil)
		delete(withoutParty, "azp")
		past := time.Now().Unix() - 60
		for name, token := range map[string]string{
			"of a template":     issuer.Template(ada, "orders", map[string]any{"org_id": acmeOrg}),
			"of another origin": issuer.Sign(changed(map[string]any{"azp": "https://elsewhere.example"})),
			"of no origin":      issuer.Sign(withoutParty),
			"expired":           issuer.Sign(changed(map[string]any{"iat": past - 60, "nbf": past - 60, "exp": past})),
			"of a pending user": issuer.Sign(changed(map[string]any{"sts": "pending"})),
			"unsigned":          unsigned(issuer, changed(nil)),
			"no token":          "ey",
		} {
			require.Contains(t, requireProblem(t, call(t, "orders", token), http.StatusUnauthorized, "token_invalid"), "getToken()", name)
		}
		requireProblem(t, get(t, gateway+"/orders"), http.StatusUnauthorized, "token_missing")
		require.Empty(t, api.called())
	})
	t.Run("no organization is selected", func(t *testing.T) {
		api.reset()
		api.set(func() { api.activeOrg = "" })
		for _, service := range serviceNames {
			requireProblem(t, call(t, service, session()), http.StatusForbidden, "org_not_selected")
		}
	})
	t.Run("the template is missing", func(t *testing.T) {
		api.reset()
		api.set(func() { delete(api.templates, "orders") })
		token := session(acmeOrg, "admin")
		require.Equal(t, `No JWT template exists with name: orders. Create JWT template 'orders' in Clerk's dashboard → JWT templates, with {"aud": "orders", "org_id": "{{org.id}}"}.`,
			requireProblem(t, call(t, "orders", token), http.StatusBadGateway, "template_missing"))
		requireCaller(t, "reports", call(t, "reports", token))
		api.reset()
		testkit.Eventually(t, "the new template is used", func() (bool, any) {
			answer := call(t, "orders", token)
			return answer.StatusCode == http.StatusOK, answer.Body
		})
	})
	t.Run("the template lacks a claim", func(t *testing.T) {
		api.reset()
		api.set(func() {
			api.templates["orders"] = map[string]any{"org_id": "{{org.id}}"}
			api.templates["reports"] = map[string]any{"aud": "orders", "org_id": "{{org.id}}"}
			api.templates["inventory"] = map[string]any{"aud": "inventory"}
		})
		for _, service := range serviceNames {
			require.Contains(t, requireProblem(t, call(t, service, session(acmeOrg, "admin")), http.StatusBadGateway, "template_incomplete"),
				`{"aud": "`+service+`", "org_id": "{{org.id}}"}`)
		}
	})
	t.Run("another organization is active", func(t *testing.T) {
		api.reset()
		api.set(func() { api.activeOrg = birchOrg })
		token := session(acmeOrg, "admin")
		require.Contains(t, requireProblem(t, call(t, "orders", token), http.StatusConflict, "organization_changed"), "setActive")
		api.reset()
		requireCaller(t, "orders", call(t, "orders", token))
	})
	t.Run("Clerk refuses", func(t *testing.T) {
		api.reset()
		ended := issuer.Claims(ada, acmeOrg, "admin")
		ended["sid"] = endedSession
		requireProblem(t, call(t, "orders", issuer.Sign(ended)), http.StatusUnauthorized, "session_ended")

		api.set(func() { api.refusal = refuseKey })
		require.Contains(t, requireProblem(t, call(t, "orders", session(acmeOrg, "admin")), http.StatusBadGateway, "secret_key_refused"), "CLERK_SECRET_KEY")

		api.set(func() {
			api.refusal = func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", "60")
				clerkError(w, http.StatusTooManyRequests, "too_many_requests", "Too many requests", "Too many requests. Please try again in a bit.")
			}
		})
		before, limited := api.called(), session(acmeOrg, "admin")
		for range 3 {
			answer := call(t, "orders", limited)
			requireProblem(t, answer, http.StatusServiceUnavailable, "clerk_unavailable")
			require.Equal(t, "60", answer.Header.Get("Retry-After"))
		}
		require.Equal(t, before["orders"]+1, api.called()["orders"], "Clerk is left alone for as long as it said")

		api.set(func() { api.refusal = func(http.ResponseWriter) { panic(http.ErrAbortHandler) } })
		requireProblem(t, call(t, "orders", session(acmeOrg, "admin")), http.StatusServiceUnavailable, "clerk_unavailable")
	})
	t.Run("a removed member is refused at once", func(t *testing.T) {
		api.reset()
		token := session(acmeOrg, "admin")
		for _, service := range serviceNames {
			requireCaller(t, service, call(t, service, token))
		}
		m.sync.send(t, "organizationMembership.deleted")
		for _, service := range serviceNames {
			requireProblem(t, call(t, service, token), http.StatusForbidden, "not_a_member")
			direct := issuer.Template(ada, service, map[string]any{"org_id": acmeOrg})
			requireProblem(t, get(t, m.urls[service], bearer(direct)...), http.StatusForbidden, "not_a_member")
		}
	})
}

// testTokens: the service takes tokens that Clerk made for it, and no others.
func testTokens(t *testing.T, m *microservices, service string) {
	issuer, now := m.issuer, time.Now().Unix()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	otherInstance := testkit.NewTokenIssuerWithKey(t, key, issuer.KeyID)

	// claims returns those of a token for the service, with changes; nil leaves one out.
	claims := func(changes map[string]any) map[string]any {
		all := map[string]any{
			"iss": issuer.Issuer, "sub": ada, "aud": service, "org_id": acmeOrg, "azp": origin, "iat": now, "nbf": now - 5, "exp": now + 3600, "jti": "d1c4a3e0",
		}
		maps.Copy(all, changes)
		maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
		return all
	}
	ofCategory := func(cat any, changes map[string]any) string {
		return issuer.Sign(claims(changes), map[string]any{"cat": cat})
	}
	sign := func(changes map[string]any) string { return ofCategory(testkit.TemplateToken, changes) }

	for name, token := range map[string]string{
		"from a browser":        sign(nil),
		"from the Backend API":  sign(map[string]any{"azp": nil}),
		"for several audiences": sign(map[string]any{"aud": []string{"other", service}}),
	} {
		t.Run(name, func(t *testing.T) { requireCaller(t, service, get(t, m.urls[service]+"/", bearer(token)...)) })
	}

	another := map[string]string{"orders": "reports", "reports": "inventory", "inventory": "orders"}[service]
	for _, refused := range []struct {
		name   string
		token  string
		status int
		code   string // "": as the library says
	}{
		{"session token", issuer.Session(ada, acmeOrg, "admin"), 401, "audience_mismatch"},
		{"session token with the audience", ofCategory(testkit.SessionToken, map[string]any{"sid": "sess_2SessionOfTheTests"}), 401, "audience_mismatch"},
		{"token without a category", ofCategory(nil, nil), 401, "audience_mismatch"},
		{"token of an unknown category", ofCategory("cl_B7d4PD999AAA", nil), 401, "audience_mismatch"},
		{"token of a machine", ofCategory(testkit.MachineToken, nil), 401, ""},
		{"token of another service", sign(map[string]any{"aud": another}), 401, "audience_mismatch"},
		{"audience that begins like this one", sign(map[string]any{"aud": service + "-admin"}), 401, "audience_mismatch"},
		{"no audience", sign(map[string]any{"aud": nil}), 401, "audience_mismatch"},
		{"expired", sign(map[string]any{"iat": now - 120, "nbf": now - 125, "exp": now - 60}), 401, "token_expired"},
		{"no expiry", sign(map[string]any{"exp": nil}), 401, "token_invalid"},
		{"not valid yet", sign(map[string]any{"nbf": now + 600}), 401, "token_invalid"},
		{"another issuer", sign(map[string]any{"iss": "https://clerk.elsewhere.example"}), 401, "token_invalid"},
		{"no issuer", sign(map[string]any{"iss": nil}), 401, "token_invalid"},
		{"no subject", sign(map[string]any{"sub": nil}), 401, "token_invalid"},
		{"made for another origin", sign(map[string]any{"azp": "https://elsewhere.example"}), 401, "token_invalid"},
		{"another key", otherInstance.Sign(claims(nil), map[string]any{"cat": testkit.TemplateToken}), 401, "token_invalid"},
		{"alg none", unsigned(issuer, claims(nil)), 401, "token_invalid"},
		{"HS256 with the public key", signedWithPublicKey(issuer, claims(nil)), 401, "token_invalid"},
		{"changed claims", forged(sign(nil), claims(map[string]any{"org_id": birchOrg})), 401, "token_invalid"},
		{"no JWT", "ey.ey.ey", 401, "token_invalid"},
		{"no organization", sign(map[string]any{"org_id": nil}), 403, "org_not_selected"},
		{"organization of others", sign(map[string]any{"org_id": birchOrg}), 403, "not_a_member"},
		{"unknown user", sign(map[string]any{"sub": "user_2Unknown"}), 403, "not_a_member"},
	} {
		t.Run(refused.name, func(t *testing.T) {
			answer := get(t, m.urls[service]+"/", bearer(refused.token)...)
			if refused.code == "" {
				require.Equal(t, refused.status, answer.StatusCode)
				return
			}
			detail := requireProblem(t, answer, refused.status, refused.code)
			if refused.code == "audience_mismatch" {
				require.Equal(t, fmt.Sprintf(`This is not a token of JWT template '%[1]s': send that of getToken({template: '%[1]s'}), made with {"aud": "%[1]s"} in Clerk's dashboard → JWT templates.`,
					service), detail)
			}
		})
	}
	t.Run("no token", func(t *testing.T) {
		require.Contains(t, requireProblem(t, get(t, m.urls[service]+"/"), 401, "token_missing"), "Authorization: Bearer")
	})
	t.Run("headers of forward authentication", func(t *testing.T) {
		requireProblem(t, get(t, m.urls[service]+"/", "X-Clerk-User-Id", ada, "X-Clerk-Org-Id", acmeOrg), 401, "token_missing")
	})
}

// unsigned returns a token with alg none.
func unsigned(i *testkit.TokenIssuer, claims map[string]any) string {
	return segment(map[string]any{"alg": "none", "typ": "JWT", "kid": i.KeyID, "cat": testkit.TemplateToken}) + "." + segment(claims) + "."
}

// signedWithPublicKey returns a token that is signed with a secret which everyone knows.
func signedWithPublicKey(i *testkit.TokenIssuer, claims map[string]any) string {
	signed := segment(map[string]any{"alg": "HS256", "typ": "JWT", "kid": i.KeyID, "cat": testkit.TemplateToken}) + "." + segment(claims)
	mac := hmac.New(sha256.New, []byte(i.PEM))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// forged returns a token with other claims under the same signature.
func forged(token string, claims map[string]any) string {
	parts := strings.Split(token, ".")
	return parts[0] + "." + segment(claims) + "." + parts[2]
}

func segment(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}
