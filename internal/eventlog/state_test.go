package eventlog_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

func backlog(t *testing.T, l *eventlog.Log) *eventlog.Backlog {
	t.Helper()
	b, err := l.Backlog(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), b.At, 10*time.Second)
	return b
}

// awaitBacklog waits until the server's counts are right.
func awaitBacklog(t *testing.T, l *eventlog.Log, pending, inWork, oldest uint64) *eventlog.Backlog {
	t.Helper()
	var b *eventlog.Backlog
	testkit.Eventually(t, "the backlog is right", func() (bool, any) {
		b = backlog(t, l)
		got := uint64(0)
		if b.Oldest != nil {
			got = b.Oldest.Seq
		}
		return b.Pending == pending && b.InWork == inWork && got == oldest, *b
	})
	return b
}

// TestBacklog is right at every step, without a worker, with one, and after its end.
func TestBacklog(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{MaxBytes: 8 << 20})
	b := backlog(t, l)
	require.Zero(t, b.Pending)
	require.Nil(t, b.Oldest, "an empty log")
	require.Zero(t, b.AppliedThrough)
	require.False(t, b.Asking)
	require.EqualValues(t, 8<<20, b.MaxBytes)

	appendAll(t, l, events(0, 10))
	b = awaitBacklog(t, l, 10, 0, 1) // no worker was ever started
	require.EqualValues(t, 10, b.Last)
	require.EqualValues(t, 10, b.Events)
	require.NotZero(t, b.Bytes)
	require.Equal(t, event(0).ID, b.Oldest.Event.ID)
	require.WithinDuration(t, b.At, b.Oldest.StoredAt, 10*time.Second)

	ch := make(chan *eventlog.Message)
	stop := consume(t, l, into(ch))
	all := take(t, ch, 10, patience)
	b = awaitBacklog(t, l, 10, 10, 1) // delivered is not applied
	require.True(t, b.Asking)

	require.NoError(t, all[1].Ack())
	require.NoError(t, all[4].Ack())
	awaitBacklog(t, l, 8, 8, 1) // the oldest is not among them
	require.NoError(t, all[0].Ack())
	b = awaitBacklog(t, l, 7, 7, 3) // up to the next one that is not settled
	require.EqualValues(t, 2, b.AppliedThrough)

	require.NoError(t, all[2].Return()) // a redelivery changes nothing
	again := take(t, ch, 1, prompt)[0]
	require.EqualValues(t, 2, again.Deliveries)
	awaitBacklog(t, l, 7, 7, 3)
	require.NoError(t, again.Ack())
	awaitBacklog(t, l, 6, 6, 4)

	stop() // the worker ended with events in flight
	appendAll(t, l, events(10, 12))
	b = awaitBacklog(t, l, 8, 6, 4)
	testkit.Eventually(t, "no worker asks for events", func() (bool, any) { b = backlog(t, l); return !b.Asking, b })
	for i, m := range all[3:] {
		if i != 1 { // is settled
			require.NoError(t, m.Ack())
		}
	}
	awaitBacklog(t, l, 2, 0, 11)

	require.NoError(t, l.Park(t.Context(), event(99), eventlog.Death{Reason: "no_id", Err: clerk.ErrNoID, Attempts: 1}))
	require.EqualValues(t, 1, backlog(t, l).DeadLetters)
}

// TestBacklogOfWhatWasErased does not count events that were erased before they were applied.
func TestBacklogOfWhatWasErased(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	ch := make(chan *eventlog.Message)
	consume(t, l, into(ch))
	appendAll(t, l, events(0, 3))
	all := take(t, ch, 3, patience)
	stream := streamOf(t, nc, eventlog.Stream)
	require.NoError(t, stream.DeleteMsg(t.Context(), 1))
	require.NoError(t, all[0].Ack())
	require.NoError(t, all[1].Ack())
	awaitBacklog(t, l, 1, 1, 3)
	require.NoError(t, stream.DeleteMsg(t.Context(), 3))
	require.NoError(t, all[2].Ack())
	awaitBacklog(t, l, 0, 0, 0)
	require.NoError(t, stream.Purge(t.Context()))
	awaitBacklog(t, l, 0, 0, 0)
}

// TestBacklogWithoutTheLog is an error, and not an empty backlog.
func TestBacklogWithoutTheLog(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, js.DeleteStream(t.Context(), eventlog.Stream))
	_, err = l.Backlog(t.Context())
	require.ErrorContains(t, err, "read stream CLERK_EVENTS: ")
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
	awaitCount(t, 3, func() (uint64, error) { // erased events count as settled
		state, err := l.State(t.Context())
		return state.AppliedThrough, err
	})
}
