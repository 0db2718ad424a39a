package projector

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestAddressThatAnOperatorWrote does not hold up the batch: its claimant gets it.
func TestAddressThatAnOperatorWrote(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(user(1000))
	// One applier: beside others, a repair can deadlock, which is retried.
	r := w.start(func(o *Options) { o.Appliers = 1 })
	w.awaitDrained()
	_, err := w.store.Pool().Exec(t.Context(), "UPDATE users SET email = '333@example.com' WHERE clerk_id = 'user_1000'")
	require.NoError(t, err)

	w.append(userEvents(0, 500)...)
	w.awaitDrained()
	require.Equal(t, 501, w.users())
	require.Empty(t, w.deadLetters())
	require.Zero(t, r.counters("clerksync_apply_retries_total")[""])
	require.Equal(t, []string{"user_1000 1000@example.com", "user_333 333@example.com"}, w.emails("user_333", "user_1000"))
}

// TestCollisionIsNoOutage: a trigger of the application makes one address of two. The event
// is found and parked, and the rest of the batch is applied.
func TestCollisionIsNoOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.store.Pool().Exec(t.Context(), `
		CREATE FUNCTION clerk.lower_case() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.email := lower(NEW.email); RETURN NEW; END';
		CREATE TRIGGER lower_case BEFORE INSERT OR UPDATE ON clerk.users FOR EACH ROW EXECUTE FUNCTION clerk.lower_case()`)
	require.NoError(t, err)
	_, err = w.store.Apply(t.Context(), []store.Entry{{Change: testkit.Change(testkit.Event("msg_first", "user.created", base,
		testkit.UserData("user_first", "shout@example.com", "name", base, base)))}})
	require.NoError(t, err)
	events := userEvents(0, 500)
	events[333] = testkit.Event("msg_333", "user.created", base, testkit.UserData("user_333", "SHOUT@example.com", "name", base, base))
	w.append(events...)
	messages := w.take(500) // one batch
	r := &running{t: t, registry: prometheus.NewRegistry()}
	r.Projector = New(Options{Log: w.log, Registry: r.registry, Apply: w.store.Apply})
	r.project(messages)

	w.awaitDrained()
	require.Equal(t, 500, w.users(), "all but one, and the first")
	dead := w.deadLetters()
	require.Len(t, dead, 1)
	require.Equal(t, "refused", dead[0].Header.Get("Clerksync-Dead-Reason"))
	require.Equal(t, "334", dead[0].Header.Get("Clerksync-Dead-Seq"))
	require.Equal(t, "apply batch: refused: the address is taken in users.email by a row that clerksync does not find", dead[0].Header.Get("Clerksync-Dead-Error"))
	require.Zero(t, r.counters("clerksync_apply_retries_total")[""])
	_, err = r.Failing()
	require.NoError(t, err, "PostgreSQL is well")
}

// TestRaceWithAnOperator: an address that an operator commits while the batch waits for the
// row is a collision once, and then found: within one attempt of the projector.
func TestRaceWithAnOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.store.Apply(t.Context(), []store.Entry{{Change: testkit.Change(user(1000))}})
	require.NoError(t, err)
	tx, err := w.store.Pool().Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "UPDATE users SET email = '1@example.com' WHERE clerk_id = 'user_1000'")
	require.NoError(t, err)
	w.append(user(1))
	r := w.start()
	testkit.Eventually(t, "the batch waits for the row", func() (bool, any) {
		var waiting int
		err := w.store.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		return waiting == 1, fmt.Sprint(waiting, err)
	})
	require.NoError(t, tx.Commit(t.Context()))
	w.awaitDrained()
	require.Equal(t, []string{"user_1 1@example.com", "user_1000 1000@example.com"}, w.emails("user_1", "user_1000"))
	require.Empty(t, w.deadLetters())
	require.Zero(t, r.counters("clerksync_apply_retries_total")[""])
}

// emails are the addresses that users hold.
func (w *world) emails(ids ...string) []string {
	w.t.Helper()
	var held string
	require.NoError(w.t, w.store.Pool().QueryRow(context.Background(),
		"SELECT string_agg(clerk_id || ' ' || email, ',' ORDER BY clerk_id) FROM users WHERE clerk_id = ANY($1)", ids).Scan(&held))
	return strings.Split(held, ",")
}
