package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

// withTokens has a process verify the tokens of an issuer.
func withTokens(issuer *testkit.TokenIssuer) func(*app.Options) {
	return func(o *app.Options) { o.Config.JWTKey, o.Config.FrontendAPIURL = issuer.PEM, issuer.Issuer }
}

// TestAPIAlone: it needs a database and nothing else, says in /readyz whether it has it, and
// leaves nothing behind.
func TestAPIAlone(t *testing.T) {
	issuer := testkit.NewTokenIssuer(t)
	databaseURL := testkit.DatabaseURL(t)
	o := options(t, database(databaseURL), withTokens(issuer), func(o *app.Options) {
		o.Roles, o.Config.SigningSecrets = config.RoleAPI, nil
	})
	o.DataDir = nil // it keeps nothing on this machine
	before := goleak.IgnoreCurrent()
	a, err := app.Start(t.Context(), o)
	require.NoError(t, err)
	require.Empty(t, a.Endpoint)
	status, checks := readiness(t, a)
	require.Equal(t, 200, status)
	require.Equal(t, map[string]string{"directory": "ok"}, checks)
	status, text := get(t, a.APIURL+"/public", "")
	require.Equal(t, 200, status, text)
	status, text = get(t, a.APIURL+"/profile", "Bearer "+issuer.Session("user_1"))
	require.Equal(t, 503, status)
	require.Contains(t, text, "not_synced_yet")
	status, _ = get(t, strings.TrimSuffix(a.APIURL, "/api")+clerk.WebhookPath, "")
	require.Equal(t, http.StatusNotFound, status)
	status, text = get(t, a.AdminURL+"/metrics", "")
	require.Equal(t, 200, status)
	require.Contains(t, text, `clerksync_api_requests_total{code="not_synced_yet",route="profile"} 1`)
	status, _ = get(t, a.AdminURL+"/lag", "")
	require.Equal(t, http.StatusNotFound, status, "it has no event log to measure")

	bringBack := takeAway(t, databaseURL)
	status, checks = readiness(t, a)
	require.Equal(t, 503, status)
	require.Contains(t, checks["directory"], "PostgreSQL ")
	bringBack()
	testkit.Eventually(t, "it is ready", func() (bool, any) {
		status, checks := readiness(t, a)
		return status == 200, checks
	})
	require.NoError(t, a.Stop())
	require.NoError(t, goleak.Find(before))
}

// TestSignUpIsReadThrough: with a secret key, the user of the first request is there before
// the webhook; the webhook is where it was.
func TestSignUpIsReadThrough(t *testing.T) {
	t.Parallel()
	issuer := testkit.NewTokenIssuer(t)
	fake := fakeclerk.New(fakeclerk.Options{Seed: 1})
	fake.SetTraps(fakeclerk.Traps{Unlimited: true})
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	id := fake.CreateUser(fakeclerk.User{FirstName: "Ada", LastName: "Lovelace"}).ID
	a := start(t, options(t, database(testkit.DatabaseURL(t)), withTokens(issuer), func(o *app.Options) {
		o.Config.SecretKey, o.Config.APIURL = config.Secret(fake.SecretKey()), server.URL
	}))
	testkit.Eventually(t, "the user is there", func() (bool, any) {
		status, text := get(t, a.APIURL+"/profile", "Bearer "+issuer.Session(id))
		return status == 200 && strings.Contains(text, "Ada Lovelace"), text
	})
	post(t, a, "msg_1")
	_, checks := readiness(t, a)
	require.Equal(t, map[string]string{"postgresql": "ok", "event_log": "ok", "projector": "ok", "directory": "ok"}, checks)
}

// TestAPIAloneReadsThrough: with NATS, it fetches users, and a worker elsewhere applies them.
func TestAPIAloneReadsThrough(t *testing.T) {
	t.Parallel()
	issuer := testkit.NewTokenIssuer(t)
	fake := fakeclerk.New(fakeclerk.Options{Seed: 1})
	fake.SetTraps(fakeclerk.Traps{Unlimited: true})
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	id := fake.CreateUser(fakeclerk.User{FirstName: "Ada", LastName: "Lovelace"}).ID
	url, nats := testkit.DatabaseURL(t), config.Secret(testkit.NATS(t).URL())
	shared := func(roles config.Roles) *app.App {
		return start(t, options(t, database(url), withTokens(issuer), func(o *app.Options) {
			o.Roles, o.Config.NATSURL = roles, nats
			o.Config.SecretKey, o.Config.APIURL = config.Secret(fake.SecretKey()), server.URL
		}))
	}
	shared(config.RoleWorker)
	a := shared(config.RoleAPI)
	testkit.Eventually(t, "the user is there", func() (bool, any) {
		status, text := get(t, a.APIURL+"/profile", "Bearer "+issuer.Session(id))
		return status == 200, text
	})
	_, checks := readiness(t, a)
	require.Equal(t, map[string]string{"event_log": "ok", "directory": "ok"}, checks)
}
