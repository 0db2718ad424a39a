package app_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
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
		"an unreachable database": {
			change: []func(*app.Options){database("postgres://someone:hunter2@127.0.0.1:1/db")},
			want:   []string{"ping PostgreSQL: ", "; is DATABASE_URL right, and is the server running?"},
		},
		"an unreachable NATS server": {
			change: []func(*app.Options){database(migrated), func(o *app.Options) { o.Config.NATSURL = "nats://me:hunter2@127.0.0.1:1" }},
			want:   []string{"connect to NATS: ", "; is NATS_URL right, and is the server running?"},
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
			require.Equal(t, map[string]string{"postgresql": "unavailable", "event_log": "ok", "projector": "ok"}, checks)

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
