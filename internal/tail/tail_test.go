package tail

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func newFeed(t *testing.T, n *embeddednats.Server) *Feed {
	t.Helper()
	nc := testkit.Connect(t, n)
	f, err := NewFeed(nc)
	require.NoError(t, err)
	t.Cleanup(f.Close)
	require.NoError(t, nc.Flush(), "the server knows it")
	return f
}

// watch returns what is shown from now on, and the end of Run.
func watch(t *testing.T, n *embeddednats.Server) (*Watcher, <-chan Event, <-chan error) {
	t.Helper()
	w, err := Watch(testkit.Connect(t, n))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	shown, ended := make(chan Event, 10000), make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended <- w.Run(ctx, func(e Event) error { shown <- e; return nil })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w, shown, ended
}

func next(t *testing.T, shown <-chan Event) Event {
	t.Helper()
	select {
	case e := <-shown:
		return e
	case <-time.After(testkit.Patience):
		t.Fatal("nothing was shown")
		return Event{}
	}
}

func user(id string) *clerk.Event {
	return &clerk.Event{
		ID: "msg_" + id, Origin: clerk.OriginWebhook, ReceivedAt: time.Now().Add(-time.Second),
		Envelope: clerk.Envelope{Type: "user.created", EntityID: id, UserID: id},
	}
}

func stored(id string, seq uint64) receiver.Delivery {
	return receiver.Delivery{Event: user(id), SvixID: "msg_" + id, Outcome: "stored", Seq: seq, Status: 204}
}

func settled(id string, seq uint64) *eventlog.Message {
	return &eventlog.Message{Event: user(id), Seq: seq, StoredAt: time.Now()}
}

// TestEveryProcessIsFollowed: each event is shown once, with its final outcome.
func TestEveryProcessIsFollowed(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	receives, applies := newFeed(t, n), newFeed(t, n)
	w, shown, _ := watch(t, n)
	require.False(t, w.Alone)

	receives.Answered(stored("user_1", 7))
	applies.Settled(settled("user_1", 7), store.Applied, "")
	e := next(t, shown)
	require.Equal(t, Event{
		At: e.At, Outcome: Applied, Type: "user.created", Entity: "user_1", User: "user_1", Origin: clerk.OriginWebhook, SvixID: "msg_user_1", Seq: 7,
		DurationMS: e.DurationMS,
	}, e)
	require.GreaterOrEqual(t, *e.DurationMS, 1000., "from the receipt")

	applies.Settled(settled("user_2", 8), store.Dead, "no_id")
	e = next(t, shown)
	require.Equal(t, []any{Parked, "no_id"}, []any{e.Outcome, e.Reason})

	receives.Answered(receiver.Delivery{
		SvixID: "msg_3", Outcome: "unauthorized", Reason: "bad_signature", Status: 401, Text: "svix-signature does not match", Took: 3 * time.Millisecond,
	})
	e = next(t, shown)
	require.Equal(t, Event{
		At: e.At, Outcome: Refused, Reason: "bad_signature", SvixID: "msg_3", DurationMS: new(3.), Status: 401, Answer: "svix-signature does not match",
	}, e)

	// The log of an import says when another log received the event.
	m := settled("user_4", 9)
	m.Event.Origin, m.Event.ReceivedAt = clerk.OriginImport, time.Now().Add(-time.Hour)
	applies.Settled(m, store.Applied, "")
	require.Less(t, *next(t, shown).DurationMS, float64(time.Minute.Milliseconds()))

	// Without a worker it stays stored.
	receives.Answered(stored("user_5", 10))
	e = next(t, shown)
	require.Equal(t, []any{Stored, "user_5", uint64(10)}, []any{e.Outcome, e.Entity, e.Seq})
	applies.Settled(settled("user_5", 10), store.Applied, "")
	require.Equal(t, Applied, next(t, shown).Outcome)
	require.Empty(t, shown)
}

// TestProcessIsFollowedFromItsStart: also when it starts after the watcher.
func TestProcessIsFollowedFromItsStart(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	w, shown, _ := watch(t, n)
	require.True(t, w.Alone)
	newFeed(t, n).Settled(settled("user_1", 1), store.Applied, "")
	require.Equal(t, "user_1", next(t, shown).Entity)
}

// TestNothingIsPublishedForNobody: the lease of a watcher ends with it.
func TestNothingIsPublishedForNobody(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	f := newFeed(t, n)
	f.expiry.Reset(0)
	testkit.Eventually(t, "the lease has ended", func() (bool, any) { return !f.watched.Load(), nil })
	lines, err := testkit.Connect(t, n).SubscribeSync(linesSubject)
	require.NoError(t, err)
	f.Settled(settled("user_1", 1), store.Applied, "")
	f.Answered(stored("user_2", 2))

	_, shown, _ := watch(t, n)
	testkit.Eventually(t, "it is watched", func() (bool, any) { return f.watched.Load(), nil })
	f.Settled(settled("user_3", 3), store.Applied, "")
	require.Equal(t, "user_3", next(t, shown).Entity)
	msg, err := lines.NextMsg(testkit.Patience)
	require.NoError(t, err)
	require.Contains(t, string(msg.Data), "user_3")
}

// TestFloodIsCounted: and does not hide other outcomes.
func TestFloodIsCounted(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	f := newFeed(t, n)
	_, shown, _ := watch(t, n)
	at := time.Now().UTC()
	for range 1000 {
		f.publish(Event{At: at, Outcome: Refused, SvixID: "msg" + Marked})
		f.publish(Event{At: at, Outcome: Stored, SvixID: "msg_1", Seq: 1})
	}
	for i := range 5 {
		f.publish(Event{At: at, Outcome: Applied, Seq: uint64(i + 2)})
	}
	seen := map[Outcome]int{}
	for seen[NotShown] < 1000-perSecond || seen[Applied] < 5 { // told once a second
		e := next(t, shown)
		seen[e.Outcome] += max(e.NotShown, 1)
	}
	require.Equal(t, map[Outcome]int{Refused: perSecond, Applied: 5, NotShown: 1000 - perSecond}, seen)
	f.publish(Event{At: at.Add(time.Second), Outcome: Refused})
	require.Equal(t, Refused, next(t, shown).Outcome, "a second later there is room again")
}

// TestNoPersonalData: what Clerk and Svix would not send as an id is left out.
// TestMarkedEventsAreShown: in a flood too, once a worker is done with them.
func TestMarkedEventsAreShown(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	f := newFeed(t, n)
	_, shown, _ := watch(t, n)
	at := time.Now().UTC()
	for range perSecond {
		f.publish(Event{At: at, Outcome: Ignored, Seq: 1})
	}
	f.publish(Event{At: at, Outcome: Ignored, Seq: 1})
	f.publish(Event{At: at, Outcome: Ignored, Seq: 2, SvixID: "load_1" + Marked})
	for range perSecond {
		next(t, shown)
	}
	require.EqualValues(t, 2, next(t, shown).Seq)
}

func TestNoPersonalData(t *testing.T) {
	t.Parallel()
	e := newEvent(&clerk.Event{ID: "ada@example.com", Envelope: clerk.Envelope{
		Type: "user.created ada@example.com", EntityID: "ada@example.com", UserID: "ada@example.com", OrgID: "ada example",
	}})
	require.Equal(t, Event{At: e.At}, e)
	require.Equal(t, "msg_1.a", word("msg_1.a"))
}

// TestWatchingEnds: with the connection, and with a reader that ends.
func TestWatchingEnds(t *testing.T) {
	t.Parallel()
	n := testkit.NATS(t)
	_, _, ended := watch(t, n)
	f := newFeed(t, n)
	w, err := Watch(testkit.Connect(t, n))
	require.NoError(t, err)
	f.Settled(settled("user_1", 1), store.Applied, "")
	closed := errors.New("closed")
	require.ErrorIs(t, w.Run(t.Context(), func(Event) error { return closed }), closed)

	n.Stop()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, ErrDisconnected)
	case <-time.After(testkit.Patience):
		t.Fatal("it did not notice")
	}
}

// TestMerge: the two lines of an event come in any order.
func TestMerge(t *testing.T) {
	t.Parallel()
	now := time.Now()
	stored := func(n int) Event { return Event{Outcome: Stored, SvixID: fmt.Sprint("msg_", n), Seq: uint64(n)} }
	applied := func(n int) Event { return Event{Outcome: Applied, SvixID: fmt.Sprint("msg_", n), Seq: uint64(n)} }

	m := newMerger()
	require.Empty(t, m.take(stored(1), now))
	require.Equal(t, []Event{applied(1)}, m.take(applied(1), now))
	require.Equal(t, []Event{applied(2)}, m.take(applied(2), now))
	require.Empty(t, m.take(stored(2), now))
	require.Empty(t, m.overdue(now.Add(patience)), "both are applied")
	require.Empty(t, m.settled, "and forgotten")

	m.take(stored(4), now)
	m.take(stored(3), now)
	duplicate := Event{Outcome: Duplicate, SvixID: "msg_3"}
	require.Equal(t, []Event{duplicate}, m.take(duplicate, now), "delivered again, not applied")
	require.Empty(t, m.overdue(now.Add(patience-1)))
	require.Equal(t, []Event{stored(3), stored(4)}, m.overdue(now.Add(patience)))
	require.Empty(t, m.overdue(now.Add(2*patience)), "once")

	m.take(stored(5), now)
	m.take(Event{Outcome: NotShown, NotShown: 3}, now)
	require.Empty(t, m.overdue(now.Add(patience)), "it may be one of the three")
}

// BenchmarkUnwatched: the cost of an event when nobody watches.
func BenchmarkUnwatched(b *testing.B) {
	f := &Feed{}
	m := settled("user_1", 1)
	for b.Loop() {
		f.Settled(m, store.Applied, "")
	}
}

// BenchmarkWatched: within the limit of a second or beyond it.
func BenchmarkWatched(b *testing.B) {
	f, err := NewFeed(testkit.Connect(b, testkit.NATS(b)))
	require.NoError(b, err)
	defer f.Close()
	m := settled("user_1", 1)
	for b.Loop() {
		f.watched.Store(true)
		f.Settled(m, store.Applied, "")
	}
}
