package projector

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// base is the time of the tests, in Unix milliseconds.
const base = int64(1767225600000)

// patience is for what takes as long as it takes, on a busy machine.
const patience = 25 * time.Second

// world is a log and a store, and the projectors between them.
type world struct {
	t     *testing.T
	nc    *nats.Conn
	log   *eventlog.Log
	store *store.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	nc := testkit.Connect(t, testkit.NATS(t))
	return &world{t: t, nc: nc, log: testkit.OpenLog(t, nc), store: testkit.Store(t)}
}

// running is a projector that runs until the test ends or stop is called.
type running struct {
	*Projector
	t        *testing.T
	registry *prometheus.Registry
}

// start starts a projector.
func (w *world) start(change ...func(*Options)) *running {
	w.t.Helper()
	r := &running{t: w.t, registry: prometheus.NewRegistry()}
	o := Options{Log: w.log, Apply: w.store.Apply, Registry: r.registry, Appliers: 4, Batch: 500}
	for _, f := range change {
		f(&o)
	}
	r.Projector = New(o)
	r.Start()
	w.t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		r.t.Errorf("Stop: %v", err)
	}
}

// user returns the i-th event of a test, each of another user.
func user(i int) *clerk.Event {
	return testkit.Event(fmt.Sprint("msg_", i), "user.created", base+int64(i),
		testkit.UserData(fmt.Sprint("user_", i), fmt.Sprintf("%d@example.com", i), "name", base, base))
}

func userEvents(from, to int) []*clerk.Event {
	var all []*clerk.Event
	for i := from; i < to; i++ {
		all = append(all, user(i))
	}
	return all
}

// append stores events in their order, without waiting for each.
func (w *world) append(events ...*clerk.Event) {
	w.t.Helper()
	js, err := jetstream.New(w.nc)
	require.NoError(w.t, err)
	var stored []jetstream.PubAckFuture
	for _, e := range events {
		m := &nats.Msg{Subject: e.Envelope.Subject(eventlog.Subject), Data: e.Body, Header: nats.Header{
			"Nats-Msg-Id": {e.ID}, "Svix-Id": {e.ID}, "Svix-Timestamp": {e.Timestamp}, "Svix-Signature": {e.Signature},
			"Clerksync-Origin": {string(e.Origin)}, "Clerksync-Received-At": {e.ReceivedAt.UTC().Format("2006-01-02T15:04:05.000Z")},
			"Clerksync-Event-At": {time.UnixMilli(e.Envelope.EventAt).UTC().Format("2006-01-02T15:04:05.000Z")},
		}}
		ack, err := js.PublishMsgAsync(m)
		require.NoError(w.t, err)
		stored = append(stored, ack)
	}
	for _, ack := range stored {
		select {
		case got := <-ack.Ok():
			require.False(w.t, got.Duplicate)
		case err := <-ack.Err():
			require.NoError(w.t, err)
		case <-time.After(patience):
			w.t.Fatal("an event of the test was not stored")
		}
	}
}

func (w *world) js() jetstream.JetStream {
	js, err := jetstream.New(w.nc)
	require.NoError(w.t, err)
	return js
}

func (w *world) consumer() (jetstream.Consumer, error) {
	return w.js().Consumer(context.Background(), eventlog.Stream, eventlog.ConsumerName)
}

// users counts the rows.
func (w *world) users() int {
	var n int
	err := w.store.Pool().QueryRow(context.Background(), "SELECT count(*) FROM users").Scan(&n)
	if err != nil {
		return -1
	}
	return n
}

// awaitUsers waits until there are so many rows.
func (w *world) awaitUsers(n int) {
	w.t.Helper()
	testkit.Eventually(w.t, fmt.Sprintf("%d users have a row", n), func() (bool, any) {
		got := w.users()
		return got == n, got
	})
}

// awaitDrained waits until all is acknowledged.
func (w *world) awaitDrained() {
	w.t.Helper()
	testkit.Eventually(w.t, "all is acknowledged", w.drained)
}

// drained tells whether all that is stored is acknowledged. A consumer that was
// made this moment says that nothing is pending, so its own word is not taken.
func (w *world) drained() (bool, any) {
	stream, err := w.js().Stream(context.Background(), eventlog.Stream)
	if err != nil {
		return false, err
	}
	last := stream.CachedInfo().State.LastSeq
	if last == 0 {
		return true, last
	}
	consumer, err := w.consumer()
	if err != nil {
		return false, err
	}
	floor := consumer.CachedInfo().AckFloor.Stream
	return floor == last, fmt.Sprintf("%d of %d", floor, last)
}

// deadLetters reads the stream of the dead, whole.
func (w *world) deadLetters() []*jetstream.RawStreamMsg {
	w.t.Helper()
	js, err := jetstream.New(w.nc)
	require.NoError(w.t, err)
	stream, err := js.Stream(context.Background(), eventlog.DeadStream)
	require.NoError(w.t, err)
	state := stream.CachedInfo().State
	var all []*jetstream.RawStreamMsg
	for seq := max(state.FirstSeq, 1); seq <= state.LastSeq; seq++ {
		m, err := stream.GetMsg(context.Background(), seq)
		require.NoError(w.t, err)
		all = append(all, m)
	}
	return all
}

func (r *running) counters(name string) map[string]float64 {
	r.t.Helper()
	return testkit.Values(r.t, r.registry, name)
}

// within runs f, which is to be done by then.
func within(t testing.TB, limit time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatalf("%s: not done after %s", what, limit)
	}
}
