package eventlog_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestConsume(t *testing.T) {
	t.Parallel()
	testConsume(t, testkit.Connect(t, testkit.NATS(t)))
}

// testConsume delivers events stored before and later, with the number of pending events
// right at every step.
func testConsume(t *testing.T, nc *nats.Conn) {
	l := open(t, nc, eventlog.Options{})
	pending := pendingOf(t, l)
	requirePending := func(want uint64) {
		t.Helper()
		got, err := pending()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	requirePending(0)
	begun := time.Now()
	all := events(0, 300)
	appendAll(t, l, all[:200])
	requirePending(200) // no worker was ever started

	ch := make(chan *eventlog.Message)
	stop := consume(t, l, into(ch))
	first := take(t, ch, 200, patience)
	require.Equal(t, upTo(200), seqsOf(first))
	for i, m := range first {
		requireDelivered(t, all[i], m)
		require.Equal(t, uint64(1), m.Deliveries)
		require.WithinRange(t, m.StoredAt, begun.Add(-time.Second), time.Now().Add(time.Second))
	}
	requirePending(200) // delivered is not settled
	for i, m := range first {
		if i%2 == 0 {
			require.NoError(t, m.Ack())
		}
	}
	awaitCount(t, 100, pending)

	appendAll(t, l, all[200:]) // while it runs
	second := take(t, ch, 100, patience)
	require.Equal(t, upTo(300)[200:], seqsOf(second))
	for i, m := range second {
		requireDelivered(t, all[200+i], m)
		require.NoError(t, m.Ack())
	}
	awaitCount(t, 100, pending)

	require.NoError(t, first[1].Return())
	again := take(t, ch, 1, prompt)[0]
	require.Equal(t, uint64(2), again.Seq)
	require.Equal(t, uint64(2), again.Deliveries)
	requireDelivered(t, all[1], again)
	requirePending(100)
	require.NoError(t, again.Ack())
	for i, m := range first {
		if i%2 == 1 && m.Seq != again.Seq {
			require.NoError(t, m.Ack())
		}
	}
	awaitCount(t, 0, pending)
	stop()
	requirePending(0)
	appendAll(t, l, events(300, 305))
	awaitCount(t, 5, pending) // no worker runs; the server counts after it acknowledges
}

func requireDelivered(t *testing.T, e *clerk.Event, m *eventlog.Message) {
	t.Helper()
	want := *e
	got := *m.Event
	require.True(t, want.ReceivedAt.Equal(got.ReceivedAt))
	want.ReceivedAt, got.ReceivedAt = time.Time{}, time.Time{}
	require.Equal(t, want, got)
}

func TestConsumeSurvivesTheConsumer(t *testing.T) {
	t.Parallel()
	testSurvivesTheConsumer(t, testkit.Connect(t, testkit.NATS(t)))
}

func testSurvivesTheConsumer(t *testing.T, nc *nats.Conn) {
	l := open(t, nc, eventlog.Options{})
	ch := make(chan *eventlog.Message)
	consume(t, l, into(ch))
	appendAll(t, l, events(0, 50))
	for _, m := range take(t, ch, 50, patience) {
		require.NoError(t, m.Ack())
	}
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	require.NoError(t, js.DeleteConsumer(t.Context(), eventlog.Stream, eventlog.ConsumerName))
	appendAll(t, l, events(50, 60))
	got := take(t, ch, 60, patience) // a new consumer starts over
	require.Equal(t, upTo(60), seqsOf(got))
	for _, m := range got {
		require.NoError(t, m.Ack())
	}
	awaitCount(t, 0, pendingOf(t, l))
}

func TestConsumeSurvivesTheConnection(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	way := newLink(t, n)
	nc, other := way.connect(t), testkit.Connect(t, n)
	l, direct := open(t, nc, eventlog.Options{}), open(t, other, eventlog.Options{})
	_, err := nc.Subscribe("here", func(m *nats.Msg) { _ = m.Respond(nil) })
	require.NoError(t, err)
	ch := make(chan *eventlog.Message)
	consume(t, l, into(ch))
	appendAll(t, direct, events(0, 20))
	for _, m := range take(t, ch, 20, patience) {
		require.NoError(t, m.Ack())
	}
	awaitCount(t, 0, pendingOf(t, direct))
	way.cut()
	require.Eventually(t, func() bool { // what is delivered before the server notices is redelivered after ackWait
		_, err := other.Request("here", nil, 50*time.Millisecond)
		return errors.Is(err, nats.ErrNoResponders)
	}, patience, time.Millisecond)
	appendAll(t, direct, events(20, 40))
	way.to(t, n)
	require.Equal(t, upTo(40)[20:], seqsOf(take(t, ch, 20, patience)))
}

func TestConsumeEndsWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	way := newLink(t, testkit.NATS(t))
	nc := way.connect(t)
	l := open(t, nc, eventlog.Options{})
	appendAll(t, l, events(0, 1))
	ch := make(chan *eventlog.Message)
	stop := consume(t, l, into(ch))
	take(t, ch, 1, patience)
	way.cut()
	require.Eventually(t, func() bool { return !nc.IsConnected() }, patience, time.Millisecond)
	stop() // fails when it takes long
}

func TestConsumeReturnsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	testReturn(t, testkit.Connect(t, n), testkit.Connect(t, n))
}

// testReturn ends a consumer with 490 events in flight: another one gets them at once.
func testReturn(t *testing.T, nc, other *nats.Conn) {
	l := open(t, nc, eventlog.Options{})
	appendAll(t, l, events(0, 500))
	var acked atomic.Int64
	stop := consume(t, l, func(ctx context.Context, m *eventlog.Message) {
		if acked.Load() < 10 {
			if err := m.Ack(); err != nil {
				t.Error(err)
			}
			acked.Add(1)
			return
		}
		<-ctx.Done()
		if err := m.Return(); err != nil {
			t.Error(err)
		}
	})
	awaitCount(t, 490, pendingOf(t, l))
	stop()

	second := open(t, other, eventlog.Options{})
	ch := make(chan *eventlog.Message)
	consume(t, second, into(ch))
	seen := map[uint64]bool{}
	begun := time.Now()
	for len(seen) < 490 { // an event delivered while the first one ended may be redelivered
		m := take(t, ch, 1, 10*time.Second)[0]
		require.Greater(t, m.Seq, uint64(10))
		require.NoError(t, m.Ack())
		seen[m.Seq] = true
	}
	require.Less(t, time.Since(begun), 10*time.Second)
	awaitCount(t, 0, pendingOf(t, second))
}

func TestExclusiveOnAFreshLog(t *testing.T) {
	t.Parallel()
	l := open(t, testkit.Connect(t, testkit.NATS(t)), eventlog.Options{Exclusive: true})
	reset, err := l.TakeBack(t.Context())
	require.NoError(t, err)
	require.False(t, reset)
	appendAll(t, l, events(0, 3))
	ch := make(chan *eventlog.Message)
	consume(t, l, into(ch))
	require.Equal(t, upTo(3), seqsOf(take(t, ch, 3, prompt)))
}

// An embedded server ends with its process.
func TestExclusiveTakesOverFromAKilledPredecessor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startIn(t, dir)
	way := newLink(t, n)
	predecessor := open(t, way.connect(t), eventlog.Options{Exclusive: true})
	appendAll(t, predecessor, events(0, 60))
	ch := make(chan *eventlog.Message)
	consume(t, predecessor, into(ch))
	for _, m := range take(t, ch, 60, patience) {
		if m.Seq <= 10 || m.Seq > 50 { // leaves a gap
			require.NoError(t, m.Ack())
		}
	}
	awaitCount(t, 40, pendingOf(t, predecessor))
	way.cut() // nothing is returned
	n.Stop()

	l := open(t, testkit.Connect(t, startIn(t, dir)), eventlog.Options{Exclusive: true})
	require.Equal(t, uint64(40), backlog(t, l).Pending)
	reset, err := l.TakeBack(t.Context())
	require.NoError(t, err)
	require.True(t, reset)
	successor := make(chan *eventlog.Message, 100)
	consume(t, l, func(_ context.Context, m *eventlog.Message) {
		if err := m.Ack(); err != nil {
			t.Error(err)
		}
		successor <- m
	})
	missing := map[uint64]bool{}
	for _, seq := range upTo(50)[10:] {
		missing[seq] = true
	}
	for len(missing) > 0 { // what was settled after the gap may be redelivered
		m := take(t, successor, 1, prompt)[0]
		require.Greater(t, m.Seq, uint64(10))
		delete(missing, m.Seq)
	}
	awaitCount(t, 0, pendingOf(t, l))
}

func TestConsumeKeepsAStartSetByHand(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	l := open(t, nc, eventlog.Options{})
	appendAll(t, l, events(0, 20))
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateConsumer(t.Context(), eventlog.Stream, jetstream.ConsumerConfig{
		Durable: eventlog.ConsumerName, AckPolicy: jetstream.AckExplicitPolicy,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 15,
	})
	require.NoError(t, err)
	ch := make(chan *eventlog.Message)
	consume(t, l, into(ch))
	require.Equal(t, upTo(20)[14:], seqsOf(take(t, ch, 6, patience)))
}

// pendingOf returns a reader of the number of pending events.
func pendingOf(t *testing.T, l *eventlog.Log) func() (uint64, error) {
	return func() (uint64, error) {
		b, err := l.Backlog(t.Context())
		if err != nil {
			return 0, err
		}
		return b.Pending, nil
	}
}
