package eventlog_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestHoldings(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	var same []*clerk.Event // of one user
	for i := range 20 {
		e := event(1)
		e.ID = fmt.Sprintf("msg_same%d", i)
		same = append(same, e)
	}
	appendAll(t, l, append([]*clerk.Event{event(2)}, same[:10]...))
	h, err := l.Holdings(t.Context())
	require.NoError(t, err)
	has := func(e *clerk.Event) bool {
		t.Helper()
		found, err := h.Has(t.Context(), e)
		require.NoError(t, err)
		return found
	}
	var all sync.WaitGroup
	for i, e := range same {
		all.Go(func() {
			found, err := h.Has(t.Context(), e)
			if err != nil || found != (i < 10) {
				t.Errorf("%s: %t, %v", e.ID, found, err)
			}
		})
	}
	all.Wait()
	require.True(t, has(event(2)))
	require.False(t, has(event(3)))

	// What was stored since is known when it was said so.
	h.Add(same[10])
	require.True(t, has(same[10]))
	require.False(t, has(same[11]))
	h.Add(event(4)) // nobody asked for its user yet: the log is what counts
	require.False(t, has(event(4)))

	// The same id under another subject is another event.
	moved := event(2)
	moved.Envelope.Type = "user.updated"
	require.False(t, has(moved))
}

func TestState(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	state, err := l.State(t.Context())
	require.NoError(t, err)
	require.Zero(t, state.Events)
	require.Zero(t, state.Last)
	require.Zero(t, state.AppliedThrough)

	begun := time.Now()
	appendAll(t, l, events(0, 5))
	require.NoError(t, l.Erase(t.Context(), 1))
	require.NoError(t, l.Erase(t.Context(), 3))
	state, err = l.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, []uint64{2, 5, 3, 0}, []uint64{state.First, state.Last, state.Events, state.AppliedThrough})
	require.NotZero(t, state.Bytes)
	require.WithinRange(t, state.FirstAt, begun.Add(-time.Second), state.LastAt)

	messages := make(chan *eventlog.Message)
	stop := consume(t, l, into(messages))
	got := take(t, messages, 3, patience)
	require.Equal(t, []uint64{2, 4, 5}, seqsOf(got))
	require.NoError(t, got[0].Ack())
	require.NoError(t, got[2].Ack())
	stop()
	awaitCount(t, 3, func() (uint64, error) { // what is erased has not to be waited for
		state, err := l.State(t.Context())
		return state.AppliedThrough, err
	})
}

// TestAdmit: what is stored by others than the receiver is found by filters.
func TestAdmit(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	open(t, nc, eventlog.Options{StoreEvents: []string{"user.*", "organization.*"}})
	l, err := eventlog.Attach(t.Context(), nc)
	require.NoError(t, err)
	t.Cleanup(l.Close)
	config := streamOf(t, nc, eventlog.Stream).CachedInfo().Config

	require.NoError(t, l.Admit(t.Context(), []string{"user.created", "organization.deleted"}))
	require.Equal(t, config, streamOf(t, nc, eventlog.Stream).CachedInfo().Config)
	require.NoError(t, l.Admit(t.Context(), []string{"user.created", "session.created", "session.ended"}))
	changed := streamOf(t, nc, eventlog.Stream).CachedInfo().Config
	require.Equal(t, "clerksync organization session user", changed.Metadata["clerksync_resources"])
	changed.Metadata["clerksync_resources"] = config.Metadata["clerksync_resources"]
	require.Equal(t, config, changed, "nothing else")

	e := event(1)
	e.Envelope.Type, e.Envelope.EntityID = "session.created", "sess_1"
	appendAll(t, l, []*clerk.Event{e})
	again, err := eventlog.Attach(t.Context(), nc)
	require.NoError(t, err)
	t.Cleanup(again.Close)
	for _, l := range []*eventlog.Log{l, again} {
		scan, err := l.Events(t.Context(), eventlog.Filter{User: "user_1"}, true)
		require.NoError(t, err)
		m, err := scan.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "session.created", m.Event.Envelope.Type)
		scan.Close()
	}

	// A log that says nothing can have anything.
	other := testkit.Connect(t, testkit.NATS(t))
	l = open(t, other, eventlog.Options{})
	require.NoError(t, l.Admit(t.Context(), []string{"session.created"}))
	require.Empty(t, streamOf(t, other, eventlog.Stream).CachedInfo().Config.Metadata["clerksync_resources"])
}
