package erasure_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/erasure"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/testkit"
)

// retain starts a retention of events of an age.
func (w *world) retain(t *testing.T, age time.Duration) (*erasure.Retention, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	r := erasure.NewRetention(w.Log, w.Store, age, registry, slog.New(slog.DiscardHandler))
	r.SetInterval(time.Millisecond)
	r.Start()
	t.Cleanup(func() { w.Check(r.Stop(context.Background())) })
	return r, registry
}

func (w *world) work(t *testing.T) *projector.Projector {
	t.Helper()
	p := projector.New(projector.Options{Log: w.Log, Apply: w.Store.Apply})
	p.Start()
	t.Cleanup(func() { w.stop(p) })
	return p
}

func (w *world) stop(p *projector.Projector) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	w.Check(p.Stop(ctx))
}

// awaitFirst waits until the log begins with a sequence.
func (w *world) awaitFirst(t *testing.T, seq uint64) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprint("the log begins with ", seq), func() (bool, any) {
		state, err := w.Log.State(context.Background())
		return err == nil && state.First == seq, state
	})
}

// TestRetention: what is old and applied goes. What is not applied stays, however old, and
// is applied when a worker is there again. Several processes may do it at once.
func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, lag.CheckLog(t.Context(), w.Log, w.Store))
	p := w.work(t)
	for i := range 10 {
		w.Append(testkit.UserAt(int64(i), fmt.Sprint("user_", i)))
	}
	_, young := w.retain(t, time.Hour)
	testkit.Eventually(t, "all are applied", func() (bool, any) {
		n := len(w.Rows("SELECT clerk_id FROM users"))
		return n == 10, n
	})
	w.stop(p)
	for i := range 10 {
		w.Append(testkit.UserAt(int64(i), fmt.Sprint("user_1", i)))
	}
	w.awaitFirst(t, 1)
	require.Zero(t, testkit.Values(t, young, "clerksync_expired_events_total")[""], "none is an hour old")

	first, counted := w.retain(t, 0)
	second, alsoCounted := w.retain(t, 0)
	w.awaitFirst(t, 11)
	require.NoError(t, first.Stop(t.Context()))
	require.NoError(t, second.Stop(t.Context()))
	state, err := w.Log.State(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 10, state.Events, "those that are not applied")
	n := testkit.Values(t, counted, "clerksync_expired_events_total")[""] + testkit.Values(t, alsoCounted, "clerksync_expired_events_total")[""]
	require.GreaterOrEqual(t, n, 10.0)

	w.work(t)
	testkit.Eventually(t, "they are applied", func() (bool, any) {
		n := len(w.Rows("SELECT clerk_id FROM users"))
		return n == 20, n
	})
	w.retain(t, 0)
	w.awaitFirst(t, 20)
	lost, err := lag.ReadLost(t.Context(), w.Store)
	require.NoError(t, err)
	require.Nil(t, lost)
}

// TestRetentionOfAnOlderStream: the age limit that former versions set on the stream is
// gone after a start, and so drops nothing that is not applied.
func TestRetentionOfAnOlderStream(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: eventlog.Stream, Subjects: []string{"clerk.events.>"}, MaxAge: 2 * time.Second, Duplicates: time.Second,
	})
	require.NoError(t, err)
	log := testkit.OpenLog(t, nc)
	stream, err := js.Stream(t.Context(), eventlog.Stream)
	require.NoError(t, err)
	require.Zero(t, stream.CachedInfo().Config.MaxAge)
	stored, err := log.Append(t.Context(), testkit.UserAt(1, "user_1"))
	require.NoError(t, err)
	testkit.Eventually(t, "it is older than the former limit", func() (bool, any) {
		m, err := log.Get(context.Background(), stored.Seq)
		return err == nil && time.Since(m.StoredAt) > 3*time.Second, err
	})
}

// TestRetentionWithoutAWorker removes nothing.
func TestRetentionWithoutAWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 3 {
		w.Append(testkit.UserAt(int64(i), fmt.Sprint("user_", i)))
	}
	w.retain(t, 0)
	testkit.Eventually(t, "the log is observed", func() (bool, any) {
		row, err := w.Store.EventLog(context.Background())
		return err == nil && row != nil, row
	})
	require.Len(t, w.Events(), 3)
}

// TestErasureIsNoLoss: the events of an erased person leave the log before they are
// applied, on purpose.
func TestErasureIsNoLoss(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, lag.CheckLog(t.Context(), w.Log, w.Store))
	for i := range 5 {
		w.Append(testkit.UserAt(int64(i), "user_1"), testkit.UserAt(int64(i), "user_2"))
	}
	events, _ := w.erase("user_1")
	require.Equal(t, 5, events)
	w.work(t)
	testkit.Eventually(t, "the rest is applied", func() (bool, any) {
		state, err := w.Log.State(context.Background())
		return err == nil && state.AppliedThrough == state.Last, state
	})
	require.NoError(t, lag.CheckLog(t.Context(), w.Log, w.Store))
	lost, err := lag.ReadLost(t.Context(), w.Store)
	require.NoError(t, err)
	require.Nil(t, lost)
}
