package app_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func database(url string) func(*app.Options) {
	return func(o *app.Options) { o.Config.Database.URL = config.Secret(url) }
}

// TestStartRefuses: the error names the next step, and a failed Start leaves nothing
// behind. Not parallel, because it counts goroutines.
func TestStartRefuses(t *testing.T) {
	migrated, empty := testkit.DatabaseURL(t), testkit.EmptyDatabaseURL(t)
	refusing, err := embeddednats.Start(t.Context(), embeddednats.Options{Dir: t.TempDir(), Token: "another"})
	require.NoError(t, err)
	defer refusing.Stop()
	newer := testkit.DatabaseURL(t)
	_, err = testkit.OpenStore(t, newer).Pool().Exec(t.Context(), "INSERT INTO clerksync_migrations (version_id, is_applied) VALUES (90001, true)")
	require.NoError(t, err)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	address := taken.Addr().String()

	for name, tt := range map[string]struct {
		change []func(*app.Options)
		want   []string
		is     error
	}{
		"pending migrations": {
			change: []func(*app.Options){database(empty)},
			want:   []string{"pending migrations: ", "; apply them with clerksync migrate up, or start with --migrate"},
			is:     store.ErrPending,
		},
		"a database that is not there": {
			change: []func(*app.Options){database(noSuchDatabase(t, migrated))},
			want:   []string{"ping PostgreSQL: ", "SQLSTATE 3D000", "; is DATABASE_URL right, and is the server running?"},
		},
		"tables of a newer version": {
			change: []func(*app.Options){database(newer)},
			want:   []string{"the tables are newer than this clerksync: it does not know 1 migration of theirs; run the newer clerksync that migrated them"},
			is:     store.ErrNewer,
		},
		"tables of a newer version that are to be migrated": {
			change: []func(*app.Options){database(newer), func(o *app.Options) { o.Migrate = true }},
			want:   []string{"the tables are newer than this clerksync: ", "; run the newer clerksync that migrated them"},
			is:     store.ErrNewer,
		},
		"a refused password of NATS": {
			change: []func(*app.Options){database(migrated), func(o *app.Options) {
				o.Config.NATSURL = config.Secret(strings.Replace(refusing.URL(), "nats://", "nats://hunter2@", 1))
			}},
			want: []string{"connect to NATS: ", "NATS refuses the user or the password of NATS_URL"},
		},
		"a taken port": {
			change: []func(*app.Options){database(migrated), func(o *app.Options) { o.Config.Receiver.Addr = address }},
			want:   []string{"start the receiver: ", "address already in use", "; CLERKSYNC_ADDR names another address"},
		},
		"a taken admin port": {
			change: []func(*app.Options){database(migrated), func(o *app.Options) { o.Config.Admin.Addr = address }},
			want:   []string{"start the admin listener: ", "address already in use", "; CLERKSYNC_ADMIN_ADDR names another address"},
		},
		"a bad secret": {
			change: []func(*app.Options){database(migrated), func(o *app.Options) { o.Config.SigningSecrets = []config.Secret{"whsec_aHVudGVyMg=="} }},
			want:   []string{"signing secret 1: the signing secret has 7 bytes"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, tt.change...)
			before := goleak.IgnoreCurrent()
			a, err := app.Start(t.Context(), o)
			require.Error(t, err)
			require.Nil(t, a)
			for _, part := range tt.want {
				require.ErrorContains(t, err, part)
			}
			if tt.is != nil {
				require.ErrorIs(t, err, tt.is)
			}
			require.NotContains(t, err.Error(), "hunter2")
			require.NoError(t, goleak.Find(before), "a failed Start leaves nothing behind")
		})
	}
}

// noSuchDatabase returns the URL of a database that the server does not have.
func noSuchDatabase(t *testing.T, of string) string {
	u, err := url.Parse(of)
	require.NoError(t, err)
	u.Path = "/nosuch"
	return u.String()
}

// TestStartsWithoutPostgreSQL: it receives at once, and applies when PostgreSQL is there.
func TestStartsWithoutPostgreSQL(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(*testkit.Proxy){"refused": (*testkit.Proxy).Cut, "hung": (*testkit.Proxy).Hang} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse(testkit.EmptyDatabaseURL(t))
			require.NoError(t, err)
			real := u.Host
			p := testkit.NewProxy(t, real)
			breaks(p)
			u.Host = p.Addr()
			began := time.Now()
			a := start(t, options(t, database(u.String()), func(o *app.Options) { o.Migrate = true }))
			require.Less(t, time.Since(began), testkit.Patience)
			post(t, a, "msg_1")
			status, checks := readiness(t, a)
			require.Equal(t, 200, status, "a receiver does not need it")
			require.NotEqual(t, "ok", checks["postgresql"])
			l := awaitLag(t, a, "stuck", func(l lag) bool { return l.State == "stuck" && l.Cause == "postgresql" })
			require.Regexp(t, `^stuck: PostgreSQL .* since .*\d\d:\d\d UTC; 1 event waits, for [\d.]+ m?s$`, l.Verdict)

			p.Restore(real)
			awaitLag(t, a, "applied", func(l lag) bool { return l.InStep && *l.Pending == 0 && l.EndToEnd != nil })
			_, checks = readiness(t, a)
			require.Equal(t, "ok", checks["postgresql"])
		})
	}
}

// TestPendingMigrationsAfterAnOutage: what only somebody can correct ends the process,
// even when it is found out later.
func TestPendingMigrationsAfterAnOutage(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testkit.EmptyDatabaseURL(t))
	require.NoError(t, err)
	p := testkit.NewProxy(t, u.Host)
	p.Cut()
	u.Host = p.Addr()
	a := start(t, options(t, database(u.String())))
	p.Restore("")
	require.ErrorIs(t, <-a.Fatal(), store.ErrPending)
}

// TestStartsWithoutNATS: it answers 503 at once, and 204 when NATS is there.
func TestStartsWithoutNATS(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	u, err := url.Parse(n.URL())
	require.NoError(t, err)
	p := testkit.NewProxy(t, u.Host)
	p.Cut()
	u.Host = p.Addr()
	a := start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) { o.Config.NATSURL = config.Secret(u.String()) }))
	require.Equal(t, http.StatusServiceUnavailable, postStatus(t, a, "msg_1"))
	status, checks := readiness(t, a)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "the event log takes no events", checks["event_log"])
	awaitLag(t, a, "unknown", func(l lag) bool { return l.State == "unknown" && l.Cause == "event_log" && l.Fix != "" })

	p.Restore("")
	testkit.Eventually(t, "it takes the delivery", func() (bool, any) {
		status := postStatus(t, a, "msg_1")
		return status == http.StatusNoContent, status
	})
	awaitLag(t, a, "applied", func(l lag) bool { return l.InStep && *l.Pending == 0 && l.EndToEnd != nil })
}

// TestStartAndStop: Stop ends everything, and the same folder can be used again.
func TestStartAndStop(t *testing.T) {
	url := testkit.EmptyDatabaseURL(t)
	o := options(t, database(url), func(o *app.Options) { o.Migrate = true })
	before := goleak.IgnoreCurrent()
	for range 2 {
		a, err := app.Start(t.Context(), o)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(a.Endpoint, "/api/webhooks/clerk"))
		status, checks := readiness(t, a)
		require.Equal(t, 200, status)
		require.Equal(t, map[string]string{"postgresql": "ok", "event_log": "ok", "projector": "ok"}, checks)
		require.NoError(t, a.Stop())
		require.NoError(t, a.Stop(), "again")
		require.NoError(t, goleak.Find(before))
	}
}

// TestReceiverGoesOnWithoutPostgreSQL: without PostgreSQL a receiver is ready, and a
// worker alone is not.
func TestReceiverGoesOnWithoutPostgreSQL(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{"receiver and worker": 200, "worker": 503} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testkit.DatabaseURL(t)
			a := start(t, options(t, database(url), func(o *app.Options) {
				if name == "worker" {
					o.Roles = config.RoleWorker
					o.Config.NATSURL = config.Secret(testkit.NATS(t).URL())
				}
			}))
			status, checks := readiness(t, a)
			require.Equal(t, 200, status)
			require.Equal(t, map[string]string{"postgresql": "ok", "event_log": "ok", "projector": "ok"}, checks)

			bringBack := takeAway(t, url)
			status, checks = readiness(t, a)
			require.Equal(t, want, status)
			require.Contains(t, checks["postgresql"], "PostgreSQL ")
			require.Equal(t, "ok", checks["event_log"])

			bringBack()
			testkit.Eventually(t, "it is ready", func() (bool, any) {
				status, checks := readiness(t, a)
				return status == 200 && checks["postgresql"] == "ok", checks
			})
		})
	}
}

// TestAdminToken: on the loopback a token is needed only if one is configured. Beyond it,
// everything but health needs one.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	const token = "correct-horse-battery"
	for name, tt := range map[string]struct {
		addr, token  string
		without      int
		bearer, text string
	}{
		"loopback":                      {"127.0.0.1:0", "", 200, "", ""},
		"localhost":                     {"localhost:0", "", 200, "", ""},
		"loopback with a token":         {"127.0.0.1:0", token, 401, token, "the token is missing or wrong, or the session has ended: log in with CLERKSYNC_ADMIN_TOKEN\n"},
		"beyond loopback":               {"0.0.0.0:0", "", 403, "", "this listener is beyond the loopback: set CLERKSYNC_ADMIN_TOKEN to see more than health\n"},
		"all interfaces":                {":0", "", 403, "", "this listener is beyond the loopback: set CLERKSYNC_ADMIN_TOKEN to see more than health\n"},
		"beyond loopback with a token":  {"0.0.0.0:0", token, 401, token, "the token is missing or wrong, or the session has ended: log in with CLERKSYNC_ADMIN_TOKEN\n"},
		"all interfaces and with token": {":0", token, 401, token, "the token is missing or wrong, or the session has ended: log in with CLERKSYNC_ADMIN_TOKEN\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, options(t, func(o *app.Options) {
				o.Roles = config.RoleReceiver
				o.Config.Admin = config.Admin{Addr: tt.addr, Token: config.Secret(tt.token)}
			}))
			for _, path := range []string{"/healthz", "/readyz"} {
				status, _ := get(t, a.AdminURL+path, "")
				require.Equal(t, 200, status, path)
			}
			status, text := get(t, a.AdminURL+"/metrics", "")
			require.Equal(t, tt.without, status)
			if tt.without != http.StatusOK {
				require.Equal(t, tt.text, text)
				for _, wrong := range []string{"Bearer ", "Bearer wrong", "Bearer " + token + "x", "Bearer " + token[:5]} {
					status, text = get(t, a.AdminURL+"/metrics", wrong)
					require.Equal(t, tt.without, status, wrong)
					require.NotContains(t, text, token)
				}
			}
			if tt.bearer != "" {
				status, text = get(t, a.AdminURL+"/metrics", "Bearer "+tt.bearer)
				require.Equal(t, 200, status)
			}
			if status == 200 {
				require.Contains(t, text, "clerksync_event_log_up 1\n")
				require.Contains(t, text, `clerksync_build_info{`)
			}
		})
	}
}
