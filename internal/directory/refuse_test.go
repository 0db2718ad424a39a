package directory_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/directory"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestProblems: every refusal has its status, its code, and the next step in words.
func TestProblems(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	a.apply(
		user("user_gone", "gone@example.com", "Gone"), deleted("user.deleted", "user", "user_gone"),
		banned("user_banned"),
		membership("orgmem_5", "user_stub", "org_1", "org:member"),
	)
	expired := a.issuer.Claims("user_ada")
	expired["exp"] = time.Now().Unix() - 10
	ada, adaIn1 := a.issuer.Session("user_ada"), a.issuer.Session("user_ada", "org_1", "admin")
	billing := a.issuer.Template("user_ada", "billing", nil)
	for name, tt := range map[string]struct {
		path, token string
		status      int
		code, text  string
	}{
		"no token":                      {"/api/profile", "", 401, "token_missing", "a mobile client"},
		"no token of a gateway":         {"/api/authorize", "", 401, "token_missing", "Authorization: Bearer"},
		"made up":                       {"/api/profile", "a.b.c", 401, "token_invalid", ""},
		"expired":                       {"/api/profile", a.issuer.Sign(expired), 401, "token_expired", "getToken()"},
		"a template's":                  {"/api/profile", billing, 401, "token_category", "without a template"},
		"a template's at the gateway":   {"/api/authorize", billing, 401, "token_category", "without a template"},
		"a session for an audience":     {"/api/authorize?audience=billing", ada, 401, "audience_mismatch", `{"aud": "billing"}`},
		"an unknown audience":           {"/api/authorize?audience=other", billing, 401, "audience_mismatch", `CLERK_AUDIENCE of clerksync does not list "other"`},
		"no organization":               {"/api/organization", ada, 403, "org_not_selected", "select one"},
		"no organization for members":   {"/api/organization/members", ada, 403, "org_not_selected", "select one"},
		"no organization at a gateway":  {"/api/authorize?org=required", ada, 403, "org_not_selected", "select one"},
		"no organization for a role":    {"/api/authorize?role=admin", ada, 403, "org_not_selected", "select one"},
		"another role":                  {"/api/authorize?role=org:owner&role=billing", adaIn1, 403, "role_required", "org:owner or org:billing in the organization, and the user has org:admin"},
		"a deleted user":                {"/api/profile", a.issuer.Session("user_gone"), 403, "user_inactive", "was deleted"},
		"a deleted user at a gateway":   {"/api/authorize", a.issuer.Session("user_gone"), 403, "user_inactive", "was deleted"},
		"a banned user":                 {"/api/profile", a.issuer.Session("user_banned"), 403, "user_inactive", "is banned"},
		"an unknown user":               {"/api/profile", a.issuer.Session("user_new"), 503, "not_synced_yet", "Retry-After"},
		"a stub":                        {"/api/profile", a.issuer.Session("user_stub"), 503, "not_synced_yet", "Retry-After"},
		"an unknown place":              {"/api/organization", a.issuer.Session("user_bob", "org_2", "member"), 503, "not_synced_yet", "Retry-After"},
		"no number":                     {"/api/organization/members?limit=x", adaIn1, 400, "invalid_parameter", "limit: "},
		"no members":                    {"/api/organization/members?limit=0", adaIn1, 400, "invalid_parameter", "limit: must be a number from 1 to 100"},
		"too many":                      {"/api/organization/members?limit=101", adaIn1, 400, "invalid_parameter", "1 to 100"},
		"a made-up cursor":              {"/api/organization/members?cursor=%25", adaIn1, 400, "invalid_parameter", "next_cursor"},
		"a long search":                 {"/api/organization/members?search=" + strings.Repeat("x", 101), adaIn1, 400, "invalid_parameter", "100 characters"},
		"a search with NUL":             {"/api/organization/members?search=%00", adaIn1, 400, "invalid_parameter", "search: "},
		"a search that is no text":      {"/api/organization/members?search=%ff", adaIn1, 400, "invalid_parameter", "search: "},
		"an odd role":                   {"/api/organization/members?role=a%20b", adaIn1, 400, "invalid_parameter", "org:admin"},
		"eleven roles":                  {"/api/organization/members?" + strings.Repeat("role=a&", 11), adaIn1, 400, "invalid_parameter", "more than 10"},
		"a parameter twice":             {"/api/organization/members?limit=1&limit=2", adaIn1, 400, "invalid_parameter", "more than once"},
		"an unknown parameter":          {"/api/authorize?orgs=required", ada, 400, "invalid_parameter", "orgs: this path does not take it; it takes audience, org, role"},
		"a name of bad characters":      {"/api/profile?%3Cscript%3E=1", ada, 400, "invalid_parameter", "query: this path takes no parameters"},
		"a long name":                   {"/api/profile?" + strings.Repeat("x", 33) + "=1", ada, 400, "invalid_parameter", "query: this path takes no parameters"},
		"no role at a gateway":          {"/api/authorize?role=", adaIn1, 400, "invalid_parameter", "role: it is the key of a role"},
		"no organization in a template": {"/api/authorize?audience=billing&org=required", billing, 403, "org_not_selected", `or add {"org_id": "{{org.id}}"} to the JWT template`},
		"another value":                 {"/api/authorize?org=requierd", ada, 400, "invalid_parameter", "org: the only value is required; leave the parameter out"},
		"no audience":                   {"/api/authorize?audience=", ada, 400, "invalid_parameter", "leave it out"},
		"a parameter where none is":     {"/api/public?a=b", "", 400, "invalid_parameter", "a: this path takes no parameters; leave it out"},
		"a query that is not encoded":   {"/api/profile?%zz", ada, 400, "invalid_parameter", "encoded"},
		"a path that there is not":      {"/api/users", ada, 404, "not_found", "/api/openapi.json"},
		"a slash at the end of a path":  {"/api/profile/", ada, 404, "not_found", "/api/openapi.json"},
		"an unclean path":               {"/api//profile", ada, 404, "not_found", "/api/openapi.json"},
		"a parameter before the token":  {"/api/organization/members?limit=x", "", 400, "invalid_parameter", "limit: "},
		"a semicolon in a query":        {"/api/authorize?org=required;role=admin", ada, 400, "invalid_parameter", "encoded"},
		"an organization that is gone":  {"/api/authorize", a.issuer.Session("user_ada", "org_3", "admin"), 503, "not_synced_yet", ""},
		"a token without a known party": {"/api/profile", other(a, "user_ada"), 401, "token_invalid", "CLERK_AUTHORIZED_PARTIES"},
	} {
		t.Run(name, func(t *testing.T) {
			r := a.get(tt.path, tt.token)
			p := requireProblem(t, r, tt.status, tt.code)
			require.Contains(t, p.Detail, tt.text)
			require.Equal(t, "https://github.com/clerksync/clerksync/blob/main/docs/directory-api.md#"+tt.code, p.Type)
			require.Equal(t, tt.status == 401, r.Header.Get("WWW-Authenticate") != "")
			require.Equal(t, tt.status == 503, r.Header.Get("Retry-After") != "")
			if tt.code == "token_missing" {
				require.Equal(t, `Bearer realm="clerksync"`, r.Header.Get("WWW-Authenticate"))
			}
			for _, header := range []string{"X-Clerk-User-Id", "X-Clerk-Org-Id", "X-Clerk-Role"} {
				require.NotContains(t, r.Header, header)
			}
		})
	}
}

func banned(id string) *clerk.Event {
	data := testkit.UserData(id, "", "Mallory", at, at)
	data["banned"] = true
	return testkit.Event("msg_"+id, "user.created", at, data)
}

// other returns a token that Clerk made for another application.
func other(a *api, user string) string {
	claims := a.issuer.Claims(user)
	claims["azp"] = "https://evil.example"
	return a.issuer.Sign(claims)
}

// TestCodesAreDocumented: docs/directory-api.md has a section for every code, which is
// where the type of a problem leads to.
func TestCodesAreDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/directory-api.md")
	require.NoError(t, err)
	for _, code := range directory.Codes() {
		require.Contains(t, string(page), "\n### "+code+"\n")
	}
}

// TestRevocationAtCommit: a membership that was removed, an organization that was deleted
// and a user who was banned are refused with the next request, whatever the token says.
func TestRevocationAtCommit(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	ada, bob, eve := a.issuer.Session("user_ada", "org_1", "admin"), a.issuer.Session("user_bob", "org_1", "member"), a.issuer.Session("user_eve", "org_2", "member")
	paths := []string{"/api/organization", "/api/organization/members", "/api/authorize", "/api/authorize?org=required", "/api/authorize?role=org:member"}
	allowed := func(token, role string) {
		t.Helper()
		for _, path := range paths {
			if role == "org:member" || path != paths[4] {
				require.Less(t, a.get(path, token).StatusCode, 300, path)
			}
		}
	}
	refused := func(token, code string) {
		t.Helper()
		for _, path := range paths {
			requireProblem(t, a.get(path, token), http.StatusForbidden, code)
		}
	}
	allowed(ada, "org:admin")
	allowed(bob, "org:member")
	allowed(eve, "org:member")

	a.apply(testkit.Event("msg_left", "organizationMembership.deleted", at+1000, testkit.MembershipData("orgmem_2", "user_bob", "org_1", "org:member", at, at)))
	refused(bob, "not_a_member")
	require.Equal(t, http.StatusOK, a.get("/api/profile", bob).StatusCode, "the profile needs no organization")
	allowed(ada, "org:admin")

	a.apply(deleted("organization.deleted", "organization", "org_2"))
	refused(eve, "not_a_member")

	data := testkit.UserData("user_ada", "ada@example.com", "Ada", at, at+2000)
	data["banned"] = true
	a.apply(testkit.Event("msg_banned", "user.updated", at+2000, data))
	refused(ada, "user_inactive")
	requireProblem(t, a.get("/api/profile", ada), http.StatusForbidden, "user_inactive")
}

// TestRoleOfTheRow: the role that counts is that of the row.
func TestRoleOfTheRow(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	claimsAdmin := a.issuer.Session("user_bob", "org_1", "admin")
	requireProblem(t, a.get("/api/authorize?role=admin", claimsAdmin), http.StatusForbidden, "role_required")
	require.Equal(t, "org:member", decode[store.Organization](t, a.get("/api/organization", claimsAdmin)).Membership.Role)
	a.apply(testkit.Event("msg_promoted", "organizationMembership.updated", at+1000, testkit.MembershipData("orgmem_2", "user_bob", "org_1", "admin", at, at+1000)))
	r := a.get("/api/authorize?role=org:admin", claimsAdmin)
	require.Equal(t, http.StatusNoContent, r.StatusCode)
	require.Equal(t, "org:admin", r.Header.Get("X-Clerk-Role"), "an old event's role has no prefix")
}

// TestMethods: HEAD is GET without a body, and nothing else is taken.
func TestMethods(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	token := a.issuer.Session("user_ada", "org_1", "admin")
	for _, path := range []string{"/api/public", "/api/openapi.json", "/api/profile", "/api/organization", "/api/organization/members", "/api/authorize"} {
		want := a.get(path, token)
		head := a.get(path, token, func(r *http.Request) { r.Method = http.MethodHead })
		require.Equal(t, want.StatusCode, head.StatusCode, path)
		require.Equal(t, want.Header.Get("Content-Type"), head.Header.Get("Content-Type"), path)
		require.Empty(t, head.body, path)
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
			r := a.get(path, token, func(r *http.Request) { r.Method = method })
			requireProblem(t, r, http.StatusMethodNotAllowed, "method_not_allowed")
			require.Equal(t, "GET, HEAD", r.Header.Get("Allow"))
		}
	}
}

// TestOrigins: only the configured origins may read answers in a browser, and no cookie is
// used for that.
func TestOrigins(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	ask := func(origin string, preflight bool) *reply {
		return a.get("/api/profile", "", func(r *http.Request) {
			r.Header.Set("Origin", origin)
			if preflight {
				r.Method = http.MethodOptions
				r.Header.Set("Access-Control-Request-Method", "GET")
				r.Header.Set("Access-Control-Request-Headers", "authorization")
			}
		})
	}
	r := ask(origin, true)
	require.Equal(t, http.StatusNoContent, r.StatusCode)
	require.Equal(t, origin, r.Header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "Authorization", r.Header.Get("Access-Control-Allow-Headers"))
	require.Empty(t, r.Header.Get("Access-Control-Allow-Credentials"))
	r = ask(origin, false)
	requireProblem(t, r, http.StatusUnauthorized, "token_missing")
	require.Equal(t, origin, r.Header.Get("Access-Control-Allow-Origin"), "or the client could not read the code")
	for _, other := range []string{"https://evil.example", "https://app.example.evil.example", "null", "https://APP.example"} {
		require.Empty(t, ask(other, false).Header.Get("Access-Control-Allow-Origin"), other)
		r := ask(other, true)
		require.Contains(t, requireProblem(t, r, http.StatusMethodNotAllowed, "method_not_allowed").Detail, "list its origin in CLERK_AUTHORIZED_PARTIES")
		require.Empty(t, r.Header.Get("Access-Control-Allow-Origin"), other)
		require.Equal(t, "Origin", r.Header.Get("Vary"))
	}
}

// TestDatabaseAway: 503, and 200 when it is back.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	a, proxy, address := newAPIBehindProxy(t)
	a.populate()
	token := a.issuer.Session("user_ada", "org_1", "admin")
	require.Equal(t, http.StatusOK, a.get("/api/profile", token).StatusCode)
	proxy.Cut()
	for _, path := range []string{"/api/profile", "/api/organization", "/api/organization/members", "/api/authorize"} {
		r := a.get(path, token)
		requireProblem(t, r, http.StatusServiceUnavailable, "unavailable")
		require.NotEmpty(t, r.Header.Get("Retry-After"))
	}
	require.Error(t, a.reader.Check(t.Context()))
	proxy.Restore(address)
	require.Equal(t, http.StatusOK, a.get("/api/profile", token).StatusCode)
	require.NoError(t, a.reader.Check(t.Context()))
}

// TestRateLimit: a user that sends too many requests is refused, and no other.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	ada, bob := a.issuer.Session("user_ada"), a.issuer.Session("user_bob")
	require.Equal(t, http.StatusNoContent, a.get("/api/authorize", ada).StatusCode)
	directory.Exhaust(a.handler, "user_ada")
	for _, path := range []string{"/api/authorize", "/api/profile"} {
		r := a.get(path, ada)
		requireProblem(t, r, http.StatusTooManyRequests, "rate_limited")
		require.Equal(t, "1", r.Header.Get("Retry-After"))
	}
	require.Equal(t, http.StatusNoContent, a.get("/api/authorize", bob).StatusCode)
}
