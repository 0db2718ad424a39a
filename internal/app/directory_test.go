package app_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/store"
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

// TestAPIAloneChecksTheTables: it refuses to start over pending migrations, or applies them.
// It starts without a database that it can read, and says so at once.
func TestAPIAloneChecksTheTables(t *testing.T) {
	t.Parallel()
	issuer := testkit.NewTokenIssuer(t)
	var log *testkit.Output
	alone := func(url string, change ...func(*app.Options)) app.Options {
		log = &testkit.Output{}
		return options(t, append(change, database(url), withTokens(issuer), func(o *app.Options) {
			o.Roles, o.Config.SigningSecrets, o.Logger = config.RoleAPI, nil, slog.New(slog.NewTextHandler(log, nil))
		})...)
	}
	empty := testkit.EmptyDatabaseURL(t)
	_, err := app.Start(t.Context(), alone(empty))
	require.ErrorIs(t, err, store.ErrPending)
	require.ErrorContains(t, err, "; apply them with clerksync migrate up, or start with --migrate")
	a := start(t, alone(empty, func(o *app.Options) { o.Migrate = true }))
	status, checks := readiness(t, a)
	require.Equal(t, 200, status, checks)
	require.Contains(t, log.String(), "migration applied")
	require.NotContains(t, log.String(), "cannot be read")

	const warning = `level=WARN msg="the database cannot be read yet, requests are answered with 503`
	start(t, alone(noSuchDatabase(t, empty), func(o *app.Options) { o.Migrate = true }))
	require.Contains(t, log.String(), warning+`, and pending migrations were not applied" component=directory cause="the database does not exist"`)

	st := testkit.OpenStore(t, empty)
	role := "closed_" + st.Pool().Config().ConnConfig.Database
	_, err = st.Pool().Exec(t.Context(), "CREATE ROLE "+role+" LOGIN PASSWORD 'secret'")
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := st.Pool().Exec(context.Background(), "DROP ROLE "+role)
		require.NoError(t, err)
	})
	u, err := url.Parse(empty)
	require.NoError(t, err)
	u.User = url.UserPassword(role, "secret")
	a = start(t, alone(u.String()))
	require.Contains(t, log.String(), warning+`" component=directory cause="the tables are missing, or the user of DATABASE_URL may not use the schema clerk: `)
	status, checks = readiness(t, a)
	require.Equal(t, 503, status)
	require.Contains(t, checks["directory"], "GRANT USAGE ON SCHEMA clerk TO that user")
}

// TestKeysAreChecked: a process that answers every token with keys_unavailable is not ready,
// unless it receives webhooks too.
func TestKeysAreChecked(t *testing.T) {
	t.Parallel()
	issuer := testkit.NewTokenIssuer(t)
	for name, tt := range map[string]struct {
		keys   http.Handler
		roles  config.Roles
		status int
		want   string
	}{
		"there are keys":  {issuer.JWKS, config.RoleAPI, 200, "ok"},
		"there are none":  {http.NotFoundHandler(), config.RoleAPI, 503, "the keys of Clerk could not be fetched, and there are none yet: check CLERK_FRONTEND_API_URL, or set CLERK_JWT_KEY"},
		"with a receiver": {http.NotFoundHandler(), config.RoleAPI | config.RoleReceiver, 200, "the keys of Clerk could not be fetched, and there are none yet: check CLERK_FRONTEND_API_URL, or set CLERK_JWT_KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clerk := httptest.NewServer(tt.keys)
			t.Cleanup(clerk.Close)
			a := start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) {
				o.Roles, o.Config.FrontendAPIURL = tt.roles, clerk.URL
			}))
			status, checks := readiness(t, a)
			require.Equal(t, tt.status, status)
			require.Equal(t, tt.want, checks["keys"])
		})
	}
}

// TestSecretKeyWithoutALog: an API that cannot fetch users says so at the start.
func TestSecretKeyWithoutALog(t *testing.T) {
	t.Parallel()
	const warning = "CLERK_SECRET_KEY has no effect on this process: to fetch users before their webhook, the role api alone needs NATS_URL too"
	issuer, url := testkit.NewTokenIssuer(t), testkit.DatabaseURL(t)
	for key, warned := range map[config.Secret]bool{"": false, "sk_test_key": true} {
		log := &testkit.Output{}
		start(t, options(t, database(url), withTokens(issuer), func(o *app.Options) {
			o.Roles, o.Config.SecretKey, o.Logger = config.RoleAPI, key, slog.New(slog.NewTextHandler(log, nil))
		}))
		require.Equal(t, warned, strings.Contains(log.String(), warning), log.String())
	}
}

// TestPathsOfTheAPI: below /api/, a path that does not exist is a problem in every process,
// and one with the API off says how to have it. A webhook on a wrong path is the receiver's.
func TestPathsOfTheAPI(t *testing.T) {
	t.Parallel()
	issuer := testkit.NewTokenIssuer(t)
	const off = "the directory API is off in this process: set CLERK_JWT_KEY"
	for name, tt := range map[string]struct {
		roles   config.Roles
		profile string // text of the answer
		other   string
	}{
		"both":     {config.RoleAPI | config.RoleReceiver, `"code":"token_missing"`, "the paths of this API are in /api/openapi.json"},
		"API":      {config.RoleAPI, `"code":"token_missing"`, "the paths of this API are in /api/openapi.json"},
		"receiver": {config.RoleReceiver, off, off},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, options(t, database(testkit.DatabaseURL(t)), withTokens(issuer), func(o *app.Options) { o.Roles = tt.roles }))
			base := strings.TrimSuffix(a.APIURL, "/api")
			if base == "" {
				base = strings.TrimSuffix(a.Endpoint, clerk.WebhookPath)
			}
			ask := func(method, path string, header http.Header) (int, string, http.Header) {
				r, err := http.NewRequestWithContext(t.Context(), method, base+path, nil)
				require.NoError(t, err)
				if r.Close = true; header != nil {
					r.Header = header
				}
				resp, err := http.DefaultTransport.RoundTrip(r)
				require.NoError(t, err)
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				return resp.StatusCode, string(text), resp.Header
			}
			_, text, header := ask("GET", "/api/profile", nil)
			require.Contains(t, text, tt.profile)
			require.Equal(t, "application/problem+json", header.Get("Content-Type"))
			require.Equal(t, "private, no-store", header.Get("Cache-Control"))
			for _, path := range []string{"/api/users", "/api/profile/", "/api/"} {
				status, text, header := ask("GET", path, nil)
				require.Equal(t, 404, status)
				require.Contains(t, text, tt.other)
				require.Equal(t, "not_found", header.Get("Clerksync-Reason"))
			}
			if !tt.roles.Has(config.RoleReceiver) {
				return
			}
			status, _, _ := ask("POST", clerk.WebhookPath, nil)
			require.Equal(t, 401, status)
			signed := http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {"1"}, "Svix-Signature": {"v1,x"}}
			for _, path := range []string{"/api/clerk", "/api/webhook", "/api/webhooks/clerk/x"} {
				status, text, _ := ask("POST", path, signed)
				require.Equal(t, 404, status)
				require.Equal(t, "the webhook endpoint is /api/webhooks/clerk\n", text)
			}
		})
	}
}
