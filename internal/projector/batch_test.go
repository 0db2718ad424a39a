package projector

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestLoneEventIsAppliedAtOnce: it does not wait for company.
func TestLoneEventIsAppliedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start()
	w.append(user(0))
	w.awaitUsers(1) // all is set up
	best := time.Hour
	for i := 1; i <= 5; i++ { // the machine may be busy, but not every time
		began := time.Now()
		w.append(user(i))
		w.awaitUsers(i + 1)
		best = min(best, time.Since(began))
	}
	require.Less(t, best, time.Second)
	w.awaitDrained()
	require.Equal(t, 6.0, r.counters("clerksync_batch_size_events")[""])
}

// TestBacklogIsAppliedInBatches: not one by one.
func TestBacklogIsAppliedInBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(userEvents(0, 3000)...)
	r := w.start(func(o *Options) { o.Appliers = 2 })
	w.awaitDrained()
	require.Equal(t, 3000, w.users())
	require.Less(t, r.counters("clerksync_batch_size_events")[""], 300.0, "batches")
	testkit.Eventually(t, "all are counted", func() (bool, any) {
		got := r.counters("clerksync_applied_total")
		return got["applied"] == 3000, got
	})
}

// refusedUser is an event that PostgreSQL does not take: its address is too long
// for an index.
func refusedUser(i int) *clerk.Event {
	noise := make([]byte, 5000)
	rand.Read(noise)
	return testkit.Event(fmt.Sprint("msg_", i), "user.created", base,
		testkit.UserData(fmt.Sprint("user_", i), base64.RawURLEncoding.EncodeToString(noise), "name", base, base))
}

// undecodable is an event that got into the log and cannot be read any more.
func undecodable(i int) *clerk.Event {
	e := user(i)
	e.Body = []byte(`{"type":"user.created","data":{"id":"user_1","id":"user_2"}}`)
	return e
}

// take takes the first n stored events, all at once.
func (w *world) take(n int) []*eventlog.Message {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	all := make(chan []*eventlog.Message, 1)
	finished := make(chan error, 1)
	var got []*eventlog.Message
	go func() {
		finished <- w.log.Consume(ctx, func(m *eventlog.Message) {
			if got = append(got, m); len(got) == n {
				all <- got
			}
		})
	}()
	var batch []*eventlog.Message
	select {
	case batch = <-all:
	case <-time.After(patience):
		cancel()
		w.t.Fatalf("%d events were not delivered", n)
	}
	cancel()
	require.NoError(w.t, <-finished)
	return batch
}

// TestOneBadEventAmongMany is found by halving and parked with its reason; all
// others are applied, and in few transactions.
func TestOneBadEventAmongMany(t *testing.T) {
	t.Parallel()
	for reason, bad := range map[string]*clerk.Event{"refused": refusedUser(333), "undecodable": undecodable(333)} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			events := userEvents(0, 500)
			events[333] = bad
			w.append(events...)
			messages := w.take(500) // one batch
			r := &running{t: t, registry: prometheus.NewRegistry()}
			r.Projector = New(Options{Log: w.log, Apply: w.store.Apply, Registry: r.registry})
			r.project(messages)

			w.awaitDrained()
			require.Equal(t, 499, w.users())
			dead := w.deadLetters()
			require.Len(t, dead, 1)
			require.Equal(t, "clerk.dead.user.created.user_333.-.user_333", dead[0].Subject)
			require.Equal(t, reason, dead[0].Header.Get("Clerksync-Dead-Reason"))
			require.Equal(t, "334", dead[0].Header.Get("Clerksync-Dead-Seq"))
			require.Equal(t, "1", dead[0].Header.Get("Clerksync-Dead-Attempts"))
			require.Equal(t, "msg_333", dead[0].Header.Get("Svix-Id"))
			require.Equal(t, string(bad.Body), string(dead[0].Data))
			require.Equal(t, time.UnixMilli(bad.Envelope.EventAt).UTC().Format("2006-01-02T15:04:05.000Z"), dead[0].Header.Get("Clerksync-Event-At"))
			require.NotEmpty(t, dead[0].Header.Get("Clerksync-Dead-Error"))
			require.NotContains(t, dead[0].Header.Get("Clerksync-Dead-Error"), "example")
			require.Equal(t, map[string]float64{reason: 1}, r.counters("clerksync_dead_letters_total"))
			require.Equal(t, map[string]float64{"applied": 499, "dead": 1, "stale": 0, "duplicate": 0, "ignored": 0}, r.counters("clerksync_applied_total"))
			require.LessOrEqual(t, r.counters("clerksync_batch_size_events")[""], 9.0, "transactions")
			_, err := r.Failing()
			require.NoError(t, err, "PostgreSQL is well")
		})
	}
}

// TestAllBad: nothing but dead letters comes of them, and the next is applied.
func TestAllBad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 10 {
		if i%2 == 0 {
			w.append(refusedUser(i))
		} else {
			w.append(undecodable(i))
		}
	}
	w.append(user(10))
	r := w.start()
	w.awaitDrained()
	require.Equal(t, 1, w.users())
	require.Len(t, w.deadLetters(), 10)
	require.Equal(t, map[string]float64{"refused": 5, "undecodable": 5}, r.counters("clerksync_dead_letters_total"))
}

// TestTypesThatAreNotSyncedAreIgnored: they are in the log when an operator wants
// them there.
func TestTypesThatAreNotSyncedAreIgnored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(
		testkit.Event("msg_a", "session.created", base, testkit.Object{"id": "sess_1", "user_id": "user_1"}),
		testkit.Event("msg_b", "user.createdAtEdge", base, testkit.Object{"id": "user_1"}),
		user(1),
	)
	r := w.start()
	w.awaitDrained()
	require.Equal(t, 1, w.users())
	require.Empty(t, w.deadLetters())
	testkit.Eventually(t, "they are counted", func() (bool, any) {
		got := r.counters("clerksync_applied_total")
		return got["ignored"] == 2 && got["applied"] == 1, got
	})
}

// TestMetrics: every event by its outcome, and the time from Clerk to the row of
// those that were applied.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older := testkit.Event("msg_older", "user.updated", base, testkit.UserData("user_1", "", "older", base, base))
	newer := testkit.Event("msg_newer", "user.updated", base, testkit.UserData("user_1", "", "newer", base, base+1))
	_, err := w.store.Apply(t.Context(), []store.Entry{{Change: testkit.Change(newer)}})
	require.NoError(t, err)
	w.append(older, newer, refusedUser(2), undecodable(3), testkit.Event("msg_s", "session.created", base, testkit.Object{"id": "sess_1"}), user(4), user(5))
	r := w.start()
	w.awaitDrained()
	testkit.Eventually(t, "all are counted", func() (bool, any) {
		got := r.counters("clerksync_applied_total")
		return got["applied"] == 2 && got["stale"] == 1 && got["duplicate"] == 1 && got["dead"] == 2 && got["ignored"] == 1, got
	})
	testkit.Eventually(t, "the two that were applied have a lag", func() (bool, any) {
		got := r.counters("clerksync_end_to_end_lag_seconds")[""]
		return got == 2, got
	})
	require.Zero(t, r.counters("clerksync_redelivered_total")[""])
	require.Zero(t, r.counters("clerksync_apply_retries_total")[""])
	require.Equal(t, r.counters("clerksync_batch_size_events"), r.counters("clerksync_apply_duration_seconds"))
}

// TestBatchThatWaitsHoldsUpNobody: another applier begins, though no whole batch waits.
func TestBatchThatWaitsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start(func(o *Options) { o.Appliers = 2 })
	w.append(user(1))
	w.awaitUsers(1)
	tx, err := w.store.Pool().Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM users WHERE clerk_id = 'user_1' FOR UPDATE")
	require.NoError(t, err)
	w.append(testkit.Event("msg_again", "user.updated", base+1, testkit.UserData("user_1", "1@example.com", "name", base, base+1)))
	testkit.Eventually(t, "the batch waits for the row", func() (bool, any) {
		var waiting int
		err := w.store.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		return waiting == 1, fmt.Sprint(waiting, err)
	})
	w.append(userEvents(2, 20)...)
	w.awaitUsers(20 - 1)
	require.NoError(t, tx.Rollback(t.Context()))
	w.awaitDrained()
}

// TestNoApplierIsBusyAfterTheEnd of the events.
func TestNoApplierIsBusyAfterTheEnd(t *testing.T) {
	t.Parallel()
	p := New(Options{Log: oneEvent{}, Apply: func(context.Context, []store.Entry) ([]store.Outcome, error) {
		return []store.Outcome{store.Applied}, nil
	}})
	p.Start()
	p.Wait()
	_, busy := p.Appliers()
	require.Zero(t, busy)
}

// oneEvent is a log of one event.
type oneEvent struct{ Log }

func (oneEvent) Consume(_ context.Context, deliver func(*eventlog.Message)) error {
	deliver(&eventlog.Message{Event: user(1), Seq: 1})
	return nil
}
