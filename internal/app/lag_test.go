package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/testkit"
)

// lag is an answer of GET /lag.
type lag struct {
	InStep           bool     `json:"in_step"`
	State            string   `json:"state"`
	Cause            string   `json:"cause"`
	Fix              string   `json:"fix"`
	EndToEnd         any      `json:"end_to_end_seconds"`
	Verdict          string   `json:"verdict"`
	Pending          *uint64  `json:"pending"`
	OldestPendingAge *float64 `json:"oldest_pending_age_seconds"`
	Workers          []any    `json:"workers"`
}

// awaitLag polls until ok accepts the answer.
func awaitLag(t *testing.T, a *app.App, what string, ok func(lag) bool) lag {
	t.Helper()
	var l lag
	testkit.Eventually(t, what, func() (bool, any) {
		status, body := get(t, a.AdminURL+"/lag", "")
		l = lag{}
		return status == http.StatusOK && json.Unmarshal([]byte(body), &l) == nil && ok(l), body
	})
	return l
}

// metric returns the value of a series in /metrics, "" when it is missing.
func metric(t *testing.T, a *app.App, name string) string {
	t.Helper()
	_, body := get(t, a.AdminURL+"/metrics", "")
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestLagWithoutPostgreSQL: the endpoint keeps working, and /lag names the outage and its
// beginning until PostgreSQL is back.
func TestLagWithoutPostgreSQL(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	a := start(t, options(t, database(url)))
	awaitLag(t, a, "in step", func(l lag) bool { return l.InStep && len(l.Workers) == 1 && *l.Pending == 0 })
	require.Equal(t, "1", metric(t, a, "clerksync_in_step"))
	require.Equal(t, "1", metric(t, a, "clerksync_postgresql_up"))

	bringBack := takeAway(t, url)
	quiet := awaitLag(t, a, "stuck though nothing waits, and the worker says so", func(l lag) bool {
		return l.State == "stuck" && len(l.Workers) == 1 && l.Workers[0].(map[string]any)["outage"] != nil
	})
	require.Regexp(t, `^stuck: PostgreSQL .* since .*\d\d:\d\d UTC; nothing waits yet$`, quiet.Verdict)
	post(t, a, "msg_1")
	l := awaitLag(t, a, "stuck", func(l lag) bool { return l.State == "stuck" && *l.Pending == 1 && *l.OldestPendingAge > 0 })
	require.False(t, l.InStep)
	require.Regexp(t, `^stuck: PostgreSQL .* since .*\d\d:\d\d UTC; 1 event waits, for [\d.]+ m?s$`, l.Verdict)
	require.Equal(t, "1", metric(t, a, "clerksync_pending_events"))
	require.NotContains(t, []string{"", "0"}, metric(t, a, "clerksync_oldest_pending_age_seconds"))
	require.Equal(t, "0", metric(t, a, "clerksync_in_step"))
	testkit.Eventually(t, "the worker says that it fails", func() (bool, any) {
		failing := metric(t, a, "clerksync_apply_failing")
		return failing == "1", failing
	})

	bringBack()
	awaitLag(t, a, "in step again", func(l lag) bool { return l.InStep && *l.Pending == 0 && *l.OldestPendingAge == 0 })
	require.Equal(t, "0", metric(t, a, "clerksync_apply_failing"))
	require.Equal(t, "1", metric(t, a, "clerksync_postgresql_up"))
}

// TestLagOfAReceiverAlone: without a worker, the receiver reports the lag.
func TestLagOfAReceiverAlone(t *testing.T) {
	t.Parallel()
	nats := testkit.NATS(t)
	a := start(t, options(t, func(o *app.Options) {
		o.Roles = config.RoleReceiver
		o.Config.NATSURL = config.Secret(nats.URL())
	}))
	post(t, a, "msg_1")
	post(t, a, "msg_2")
	l := awaitLag(t, a, "stuck", func(l lag) bool { return l.State == "stuck" })
	require.EqualValues(t, 2, *l.Pending)
	require.Regexp(t, `^stuck: no worker is running; 2 events wait, the oldest for [\d.]+ m?s$`, l.Verdict)
	require.Empty(t, metric(t, a, "clerksync_postgresql_up"), "it does not use it")
	require.Equal(t, "0", metric(t, a, "clerksync_workers"))
	require.Equal(t, "2", metric(t, a, "clerksync_pending_events"))

	w := start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) {
		o.Roles = config.RoleWorker
		o.Config.NATSURL = config.Secret(nats.URL())
	}))
	awaitLag(t, a, "a worker came", func(l lag) bool { return l.InStep && len(l.Workers) == 1 && *l.Pending == 0 })
	awaitLag(t, w, "the worker says the same", func(l lag) bool { return l.InStep && len(l.Workers) == 1 })
}

// TestLagWithoutTheLog: unknown series are missing rather than 0.
func TestLagWithoutTheLog(t *testing.T) {
	t.Parallel()
	nats := testkit.NATS(t)
	a := start(t, options(t, func(o *app.Options) {
		o.Roles = config.RoleReceiver
		o.Config.NATSURL = config.Secret(nats.URL())
	}))
	post(t, a, "msg_1")
	require.Equal(t, "1", metric(t, a, "clerksync_pending_events"))
	nats.Stop()
	l := awaitLag(t, a, "unknown", func(l lag) bool { return l.State == "unknown" })
	require.Nil(t, l.Pending)
	require.False(t, l.InStep)
	require.Equal(t, "0", metric(t, a, "clerksync_event_log_up"))
	require.Equal(t, "0", metric(t, a, "clerksync_in_step"))
	for _, name := range []string{"clerksync_pending_events", "clerksync_oldest_pending_age_seconds", "clerksync_dead_letters"} {
		require.Empty(t, metric(t, a, name))
	}
}

// TestLagNeedsTheToken beyond the loopback.
func TestLagNeedsTheToken(t *testing.T) {
	t.Parallel()
	a := start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) { o.Config.Admin.Token = "hunter2hunter2" }))
	status, _ := get(t, a.AdminURL+"/lag", "")
	require.Equal(t, http.StatusUnauthorized, status)
	status, _ = get(t, a.AdminURL+"/lag", "Bearer hunter2hunter2")
	require.Equal(t, http.StatusOK, status)
}

// TestLagAfterARestart: the age of the backlog survives.
func TestLagAfterARestart(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	o := options(t, database(url))
	a := start(t, o)
	post(t, a, "msg_1")
	awaitLag(t, a, "in step", func(l lag) bool { return l.InStep && *l.Pending == 0 })
	bringBack := takeAway(t, url)
	post(t, a, "msg_2")
	before := awaitLag(t, a, "one waits", func(l lag) bool { return *l.Pending == 1 })
	require.NoError(t, a.Stop())
	stopped := time.Now()
	bringBack()

	release := lockTable(t, url, "clerk.users")
	a = start(t, o)
	l := awaitLag(t, a, "it waits still", func(l lag) bool { return l.Pending != nil && *l.Pending == 1 })
	require.GreaterOrEqual(t, *l.OldestPendingAge, *before.OldestPendingAge+time.Since(stopped).Seconds()-1)
	release()
	awaitLag(t, a, "in step again", func(l lag) bool { return l.InStep && *l.Pending == 0 })
}

// post delivers an event about a new user.
func post(t *testing.T, a *app.App, id string) {
	t.Helper()
	require.Equal(t, http.StatusNoContent, postStatus(t, a, id))
}

// postStatus is post, and returns the answer.
func postStatus(t *testing.T, a *app.App, id string) int {
	t.Helper()
	webhook, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	now := time.Now().UnixMilli()
	e := testkit.Event(id, "user.created", now, testkit.UserData("user_"+id, "", "name", now, now))
	return deliver(t.Context(), http.DefaultClient, webhook, a.Endpoint, e)
}

// lockTable blocks all writes to a table.
func lockTable(t *testing.T, databaseURL, table string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "BEGIN; LOCK TABLE "+table)
	require.NoError(t, err)
	release = sync.OnceFunc(func() { require.NoError(t, conn.Close(context.Background())) })
	t.Cleanup(release)
	return release
}
