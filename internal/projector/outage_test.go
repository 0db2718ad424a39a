package projector

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// throughProxy opens the store of a projector through a proxy.
func throughProxy(t *testing.T, direct string) (*store.Store, *testkit.Proxy) {
	t.Helper()
	u, err := url.Parse(direct)
	require.NoError(t, err)
	p := testkit.NewProxy(t, u.Host)
	u.Host = p.Addr()
	return testkit.OpenStore(t, u.String()), p
}

// TestPostgreSQLAway: nothing becomes a dead letter, the projector says what is
// wrong and since when, and drains when PostgreSQL is back.
func TestPostgreSQLAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	direct := testkit.DatabaseURL(t)
	w.store = testkit.OpenStore(t, direct)
	st, p := throughProxy(t, direct)
	r := w.start(func(o *Options) { o.Apply = st.Apply })
	w.append(userEvents(0, 50)...)
	testkit.Eventually(t, "the answers have come", func() (bool, any) { // not only the rows: they would be duplicates
		got := r.counters("clerksync_applied_total")["applied"]
		return got == 50, got
	})
	_, err := r.Failing()
	require.NoError(t, err)

	before := time.Now()
	p.Cut()
	w.append(userEvents(50, 400)...)
	w.append(undecodable(400)) // has nothing to do with PostgreSQL
	testkit.Eventually(t, "several attempts failed", func() (bool, any) {
		got := r.counters("clerksync_apply_retries_total")[""]
		return got >= 4, got
	})
	since, err := r.Failing()
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrRefused)
	require.WithinRange(t, since, before, time.Now())
	require.Equal(t, 50, w.users())
	for _, dead := range w.deadLetters() {
		require.Equal(t, "undecodable", dead.Header.Get("Clerksync-Dead-Reason"))
	}

	p.Restore("")
	w.awaitDrained()
	require.Equal(t, 400, w.users())
	require.Len(t, w.deadLetters(), 1)
	testkit.Eventually(t, "all is well again", func() (bool, any) {
		_, err := r.Failing()
		return err == nil, err
	})
	testkit.Eventually(t, "each is counted once", func() (bool, any) {
		got := r.counters("clerksync_applied_total")
		return got["applied"] == 400 && got["dead"] == 1, got
	})
}

// TestPostgreSQLComesAndGoes while it is at work: at the end the rows are those of
// the history.
func TestPostgreSQLComesAndGoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	direct := testkit.DatabaseURL(t)
	w.store = testkit.OpenStore(t, direct)
	st, p := throughProxy(t, direct)
	w.append(userEvents(0, 1500)...)
	r := w.start(func(o *Options) { o.Apply, o.Batch = st.Apply, 10 })
	for i := range 4 {
		goal := 200 * (i + 1)
		testkit.Eventually(t, fmt.Sprintf("%d users have a row", goal), func() (bool, any) {
			got := w.users()
			return got >= goal, got
		})
		p.Cut()
		failed := r.counters("clerksync_apply_retries_total")[""]
		testkit.Eventually(t, "it is noticed", func() (bool, any) {
			got := r.counters("clerksync_apply_retries_total")[""]
			return got > failed, got
		})
		p.Restore("")
	}
	w.awaitDrained()
	require.Equal(t, 1500, w.users())
	require.Empty(t, w.deadLetters())
}

// TestNATSAwayAndBack: the server is really stopped, and started again on another
// port behind the same address; the workers go on by themselves.
func TestNATSAwayAndBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := embeddednats.Start(t.Context(), embeddednats.Options{Dir: dir})
	require.NoError(t, err)
	host := func() string {
		_, host, _ := strings.Cut(server.URL(), "@")
		return host
	}
	p := testkit.NewProxy(t, host())
	connect := func() *nats.Conn {
		nc, err := nats.Connect("nats://"+p.Addr(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
			nats.IgnoreDiscoveredServers(), nats.ReconnectBufSize(-1))
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	nc := connect()
	w := &world{t: t, nc: nc, log: testkit.OpenLog(t, nc), store: testkit.Store(t)}
	r := w.start()
	w.append(userEvents(0, 100)...)
	w.awaitUsers(100)

	for i := 1; i <= 2; i++ { // the first time the connection alone, then the server too
		p.Cut()
		testkit.Eventually(t, "the loss is noticed", func() (bool, any) { return !nc.IsConnected(), nc.Status() })
		if i == 2 {
			server.Stop()
			server, err = embeddednats.Start(t.Context(), embeddednats.Options{Dir: dir})
			require.NoError(t, err)
		}
		p.Restore(host())
		testkit.Eventually(t, "the connection is back", func() (bool, any) { return nc.IsConnected(), nc.Status() })
		w.append(userEvents(100*i, 100*(i+1))...)
		w.awaitUsers(100 * (i + 1))
	}
	// An ack in flight is lost, and its event is redelivered after the ack wait:
	// all rows are there, though not all is acknowledged.
	require.Empty(t, w.deadLetters())
	r.stop()
	w.log.Close()
	nc.Close()
	server.Stop()
}

// TestStopWithPostgreSQLThatHangs ends when its context does, and says so; batches
// in flight are not lost.
func TestStopWithPostgreSQLThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	direct := testkit.DatabaseURL(t)
	w.store = testkit.OpenStore(t, direct)
	st, p := throughProxy(t, direct)
	r := New(Options{Log: w.log, Apply: st.Apply, Registry: prometheus.NewRegistry()})
	r.Start()
	w.append(user(0))
	w.awaitUsers(1)

	p.Hang()
	w.append(userEvents(1, 100)...)
	testkit.Eventually(t, "all are delivered", func() (bool, any) {
		consumer, err := w.consumer()
		require.NoError(t, err)
		got := consumer.CachedInfo().NumAckPending // NumPending trails: it may still be 0 from before
		return got >= 99, got
	})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	within(t, 5*time.Second, "Stop", func() {
		require.ErrorIs(t, r.Stop(ctx), context.DeadlineExceeded)
	})
	p.Close()

	w.start()
	within(t, 20*time.Second, "events in flight are delivered again before the ack wait", w.awaitDrained)
	require.Equal(t, 100, w.users())
}

// TestStopFinishesTheBatchAndGivesBackTheRest: at once, and for others to take at
// once; of what was not begun nothing is applied.
func TestStopFinishesTheBatchAndGivesBackTheRest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(userEvents(0, 2000)...)
	committed, letGo := make(chan struct{}, 2000), make(chan struct{})
	r := New(Options{Log: w.log, Apply: w.store.Apply, Registry: prometheus.NewRegistry(), Appliers: 1, Batch: 10, testOnlyCommitted: func() bool {
		committed <- struct{}{}
		<-letGo
		return true
	}})
	r.Start()
	within(t, patience, "a first batch", func() { <-committed }) // it is in flight from here on
	testkit.Eventually(t, "the feed is full", func() (bool, any) { return len(r.feed) == cap(r.feed), len(r.feed) })

	stopped := make(chan error, 1)
	go func() { stopped <- r.Stop(context.Background()) }()
	select {
	case err := <-stopped:
		t.Fatalf("stopped while a batch is in flight: %v", err)
	case <-r.abort.Done():
		t.Fatal("the batch in flight was cut short")
	default:
	}
	testkit.Eventually(t, "the consumer has ended", func() (bool, any) { // and closed the feed
		consumer, err := w.consumer()
		return err == nil && consumer.CachedInfo().NumWaiting == 0, err
	})
	close(letGo)
	within(t, 10*time.Second, "Stop", func() { require.NoError(t, <-stopped) })
	require.NoError(t, r.Stop(context.Background()), "again")
	require.LessOrEqual(t, w.users(), 50, "what was not begun is given back")
	require.GreaterOrEqual(t, w.users(), 10)

	w.start()
	within(t, 15*time.Second, "what was given back is delivered at once", w.awaitDrained)
	require.Equal(t, 2000, w.users())
}

// TestStopWithoutStart does nothing, and ends.
func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	r := New(Options{Registry: prometheus.NewRegistry()})
	within(t, patience, "Stop", func() { require.NoError(t, r.Stop(context.Background())) })
}

// TestConsumerDeleted: the consumer is deleted under the projector, which
// makes it again and continues.
func TestConsumerDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start()
	w.append(userEvents(0, 10)...)
	w.awaitUsers(10)
	require.NoError(t, w.js().DeleteConsumer(t.Context(), eventlog.Stream, eventlog.ConsumerName))
	w.append(userEvents(10, 20)...)
	w.awaitUsers(20)
	w.awaitDrained()
}
