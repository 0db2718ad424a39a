//go:build examples

package examples

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMobileWeb(t *testing.T) {
	t.Parallel()

	issuer := testkit.NewTokenIssuer(t)
	sync := startClerksync(t)
	dir, port := filepath.Join(folder, "mobile-web"), freePort(t)
	url := "http://localhost:" + port
	backend := start(t, dir, append(clerkSettings(issuer),
		"CLERK_PUBLISHABLE_KEY="+publishableKey(issuer), "DATABASE_URL="+sync.DatabaseURL, "PORT="+port), "node", "server.js")
	backend.awaitAnswer(url)

	// problem requests the profile, and returns the detail of the answer.
	problem := func(status int, code string, headers ...string) string {
		t.Helper()
		return requireProblem(t, get(t, url+"/api/profile", headers...), status, code)
	}
	mobile := func(token string) string {
		return output(t, dir, []string{"API_URL=" + url, "CLERK_TOKEN=" + token}, "node", "mobile-client.js")
	}

	// What needs no session.
	page := get(t, url)
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.Body, "Clerk.load")
	require.JSONEq(t, `{"publishableKey": "`+publishableKey(issuer)+`"}`, get(t, url+"/api/public").Body)

	// A user whose webhook has not arrived, or only that of a membership.
	problem(http.StatusServiceUnavailable, "not_synced_yet", bearer(issuer.Session(ada))...)
	require.Equal(t, "1", get(t, url+"/api/profile", bearer(issuer.Session(ada))...).Header.Get("Retry-After"))
	sync.send(t, "organizationMembership.created")
	problem(http.StatusServiceUnavailable, "not_synced_yet", bearer(issuer.Session(ada))...)

	// Both clients see the synced rows, and nobody else's.
	sync.send(t, "user.created", "organization.created", "user.created--ben", "organization.created--birch", "organizationMembership.created--ben")
	profile := `{"id": "` + ada + `", "name": "Ada Example", "email": "ada@example.com",
		"organizations": [{"id": "org_2synth0000000000000000Acme1", "name": "Acme Analytics", "role": "org:admin"}]}`
	require.JSONEq(t, profile, get(t, url+"/api/profile", cookie(issuer.Session(ada))...).Body)
	status, body, _ := strings.Cut(mobile(issuer.Session(ada)), " ")
	require.Equal(t, "200", status)
	require.JSONEq(t, profile, body)
	require.NotContains(t, mobile(issuer.Session(ben)), "Acme")

	// A mobile client that does not send its token, as a web client need not.
	require.Contains(t, problem(http.StatusUnauthorized, "token_missing"), "Authorization: Bearer")
	require.Contains(t, problem(http.StatusUnauthorized, "token_missing", "Accept", "text/html"), "Authorization: Bearer")
	require.Regexp(t, `^401 .*"token_missing".*Authorization: Bearer`, mobile(""))

	// One that kept a token for more than its minute.
	expired := signed(issuer, ada, map[string]any{"iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 1_700_000_060})
	require.Contains(t, problem(http.StatusUnauthorized, "token_expired", bearer(expired)...), "getToken()")
	problem(http.StatusUnauthorized, "token_expired", cookie(expired)...)

	// Native apps have no origin for azp. In a cookie, or with another origin, it is no
	// token of theirs.
	native := signed(issuer, ada, map[string]any{"azp": nil})
	require.Equal(t, http.StatusOK, get(t, url+"/api/profile", bearer(native)...).StatusCode)
	problem(http.StatusUnauthorized, "token_invalid", cookie(native)...)
	problem(http.StatusUnauthorized, "token_invalid", append(cookie(native), "Authorization", "Basic x")...)
	foreign := signed(issuer, ada, map[string]any{"azp": "https://other.example"})
	problem(http.StatusUnauthorized, "token_invalid", bearer(foreign)...)
	problem(http.StatusUnauthorized, "token_invalid", cookie(foreign)...)
	problem(http.StatusUnauthorized, "token_invalid", bearer(issuer.Template(ada, "billing", nil))...)

	// A web view may read the answers, also a 401; a page of another origin may not.
	preflight, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, url+"/api/profile", nil)
	require.NoError(t, err)
	preflight.Header = http.Header{"Origin": {"capacitor://localhost"}, "Access-Control-Request-Method": {"GET"}, "Access-Control-Request-Headers": {"authorization"}}
	allowed := do(t, preflight)
	require.Equal(t, http.StatusNoContent, allowed.StatusCode)
	require.Equal(t, "authorization", allowed.Header.Get("Access-Control-Allow-Headers"))
	const allowOrigin = "Access-Control-Allow-Origin"
	require.Equal(t, "capacitor://localhost", get(t, url+"/api/profile", "Origin", "capacitor://localhost").Header.Get(allowOrigin))
	require.Empty(t, get(t, url+"/api/profile", "Origin", "https://other.example").Header.Get(allowOrigin))

	require.NotContains(t, backend.output.String(), "eyJ", "no token in the log")
}
