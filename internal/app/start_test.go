package app_test

import (
	"net"
	"net/http"
	"net/url"
	"path/filepath"
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
	elsewhere := testkit.DatabaseURL(t)
	require.NoError(t, testkit.OpenStore(t, elsewhere).RecordLog(t.Context(), store.LogFloor{ID: "another"}, nil))
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
		"rows of another event log": {
			change: []func(*app.Options){database(elsewhere)},
			want:   []string{"its id is ", ", and that of the rows another; correct NATS_URL, CLERKSYNC_DATA_DIR or DATABASE_URL; if this log is to replace the other one: clerksync events adopt"},
		},
		"a refused password of NATS": {
			change: []func(*app.Options){database(migrated), func(o *app.Options) {
				o.Config.NATSURL = config.Secret(strings.Replace(refusing.URL(), "nats://", "nats://hunter2@", 1))
			}},
			want: []string{"connect to NATS: ", "NATS refuses the user or the password of NATS_URL"},
		},
		"a taken port": {
			change: []func(*app.Options){database(testkit.DatabaseURL(t)), func(o *app.Options) { o.Config.Receiver.Addr = address }},
			want:   []string{"start the receiver: ", "address already in use", "; CLERKSYNC_ADDR names another address"},
		},
		"a taken admin port": {
			change: []func(*app.Options){database(testkit.DatabaseURL(t)), func(o *app.Options) { o.Config.Admin.Addr = address }},
			want:   []string{"start the admin listener: ", "address already in use", "; CLERKSYNC_ADMIN_ADDR names another address"},
		},
		"a bad secret": {
			change: []func(*app.Options){database(testkit.DatabaseURL(t)), func(o *app.Options) { o.Config.SigningSecrets = []config.Secret{"whsec_aHVudGVyMg=="} }},
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

// TestAdminToken: on the loopback, /metrics and /lag are open unless a token is
// configured, and the page is open only in dev. Without a configured token, the data
// folder names the one that was made. Beyond the loopback everything but health needs one.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	const token = "correct-horse-battery"
	nats := config.Secret(testkit.NATS(t).URL())
	for name, tt := range map[string]struct {
		addr, token, nats config.Secret
		dev               bool
		readings, page    int // status of /metrics and of /events, without a token
		made              bool
	}{
		"serve":                         {addr: "127.0.0.1:0", readings: 200, page: 401, made: true},
		"serve on localhost":            {addr: "localhost:0", readings: 200, page: 401, made: true},
		"serve with a token":            {addr: "127.0.0.1:0", token: token, readings: 401, page: 401},
		"serve with NATS":               {addr: "127.0.0.1:0", nats: nats, readings: 200, page: 403},
		"serve with NATS and a token":   {addr: "127.0.0.1:0", nats: nats, token: token, readings: 401, page: 401},
		"dev":                           {addr: "127.0.0.1:0", dev: true, readings: 200, page: 200},
		"dev with a token":              {addr: "127.0.0.1:0", dev: true, token: token, readings: 401, page: 401},
		"dev beyond the loopback":       {addr: "0.0.0.0:0", dev: true, readings: 403, page: 403}, // the configuration refuses it
		"beyond the loopback":           {addr: ":0", readings: 403, page: 403},                   // likewise
		"all interfaces and with token": {addr: ":0", token: token, readings: 401, page: 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			o := options(t, func(o *app.Options) {
				o.Roles, o.OpenDashboard = config.RoleReceiver, tt.dev
				o.Config.NATSURL, o.Config.Admin = tt.nats, config.Admin{Addr: tt.addr.Reveal(), Token: tt.token}
				if tt.nats == "" {
					var err error
					o.DataDir, err = app.OpenDataDir(dir)
					require.NoError(t, err)
					t.Cleanup(func() { require.NoError(t, o.DataDir.Close()) })
				}
			})
			a := start(t, o)
			for _, path := range []string{"/healthz", "/readyz"} {
				status, _ := get(t, a.AdminURL+path, "")
				require.Equal(t, 200, status, path)
			}
			right := tt.token.Reveal()
			if tt.nats == "" {
				running, err := app.FindRunning(dir)
				require.NoError(t, err)
				if tt.made {
					require.Len(t, running.AdminToken, 26)
					right = running.AdminToken
				}
				require.Equal(t, right, running.AdminToken)
			}
			for path, want := range map[string]int{"/metrics": tt.readings, "/lag": tt.readings, "/events": tt.page} {
				for _, authorization := range []string{"", "Bearer ", "Bearer " + right + "x"} {
					status, text := get(t, a.AdminURL+path, authorization)
					require.Equal(t, want, status, path)
					require.NotContains(t, text, token)
				}
				if right != "" {
					status, _ := get(t, a.AdminURL+path, "Bearer "+right)
					require.Equal(t, 200, status, path)
				}
			}
		})
	}
}
