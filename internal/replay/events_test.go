package replay_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestReplayMakesTheRows of what the filter selects, and publishes nothing.
func TestReplayMakesTheRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Append(users(0, 300)...)
	w.Append(testkit.Event("msg_s", "session.created", testkit.Base, testkit.Object{"id": "sess_1"}))
	require.Equal(t, replay.Counts{Applied: 1}, w.replay(eventlog.Filter{User: "user_7"}))
	require.Equal(t, replay.Counts{Applied: 99, Duplicate: 1}, w.replay(eventlog.Filter{To: 100}))
	require.Equal(t, replay.Counts{Applied: 200, Duplicate: 100, Ignored: 1}, w.replay(eventlog.Filter{}))
	require.Equal(t, replay.Counts{Duplicate: 300, Ignored: 1}, w.replay(eventlog.Filter{}))
	require.Len(t, w.Events(), 301)
	require.Empty(t, w.Letters())
}

// TestReplayParksOnce: what can never be applied has one letter, however often it is
// replayed.
func TestReplayParksOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bad := user(1)
	bad.Body = []byte("{")
	w.Append(user(0), bad, user(2))
	for attempt := uint64(1); attempt < 4; attempt++ {
		require.EqualValues(t, 1, w.replay(eventlog.Filter{}).Dead)
		letters := w.Letters()
		require.Len(t, letters, 1)
		letter := letters[0].Letter()
		require.EqualValues(t, 2, letter.LogSeq)
		require.Equal(t, attempt, letter.Attempts)
		require.Equal(t, "undecodable", letter.Reason)
	}
}

// TestReplayStopsInTheMiddle, and resumes after the sequence that it names.
func TestReplayStopsInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 200
	w.Append(users(0, n)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	batches := 0
	r := replay.NewEvents(w.scan(eventlog.Filter{}), w.Log, replay.Options{
		Appliers: 1, Batch: 10,
		Apply: func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
			if batches++; batches == 5 {
				cancel()
			}
			return w.Store.Apply(ctx, entries)
		},
	})
	require.ErrorIs(t, r.Run(ctx), context.Canceled)
	done := r.Settled()
	require.Positive(t, done)
	require.Less(t, done, uint64(n))
	require.Equal(t, replay.Counts{Applied: n - done}, w.replay(eventlog.Filter{From: done + 1}))
	var rows int
	require.NoError(t, w.Store.Pool().QueryRow(t.Context(), "SELECT count(*) FROM users").Scan(&rows))
	require.Equal(t, n, rows)
}

// TestReplayOutlivesPostgreSQL: what fails for a time is tried again.
func TestReplayOutlivesPostgreSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Append(users(0, 20)...)
	failures := 3
	r := replay.NewEvents(w.scan(eventlog.Filter{}), w.Log, replay.Options{
		Appliers: 1,
		Apply: func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
			if failures--; failures >= 0 {
				return nil, errors.New("connection refused")
			}
			return w.Store.Apply(ctx, entries)
		},
	})
	require.NoError(t, r.Run(t.Context()))
	require.Equal(t, replay.Counts{Applied: 20}, r.Counts())
	require.EqualValues(t, 20, r.Settled())
}

// TestReplaySaysThatTheLogWasNotReadToTheEnd.
func TestReplaySaysThatTheLogWasNotReadToTheEnd(t *testing.T) {
	t.Parallel()
	server := testkit.NATS(t)
	w := &world{&testkit.World{T: t, NC: testkit.Connect(t, server), Store: testkit.Store(t)}, t}
	w.Log = testkit.OpenLog(t, w.NC)
	for i := range 60 { // more than is sent ahead, by their size
		e := user(i)
		e.Body = append(e.Body, make([]byte, 900<<10)...)
		for k := range e.Body[len(e.Body)-900<<10:] {
			e.Body[len(e.Body)-900<<10+k] = ' '
		}
		w.Append(e)
	}
	stopped := false
	r := replay.NewEvents(w.scan(eventlog.Filter{}), w.Log, replay.Options{
		Appliers: 1, Batch: 1,
		Apply: func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
			if !stopped {
				stopped = true
				server.Stop()
			}
			return w.Store.Apply(ctx, entries)
		},
	})
	err := r.Run(t.Context())
	require.Error(t, err)
	require.Less(t, r.Counts().Applied, uint64(60))
	require.EqualValues(t, r.Counts().Applied, r.Settled(), fmt.Sprint(r.Counts()))
}
