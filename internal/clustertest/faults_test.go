package clustertest

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// outageLimit bounds the time without an acknowledgement after a node failed. NATS takes 4 to
// 9 seconds to elect a leader; the rest is for a busy machine.
const outageLimit = 40 * time.Second

// TestNodesFail: while webhooks arrive, each node of a NATS cluster is killed and comes back,
// the leaders among them; one is cut off from the network, and one is frozen. What was
// acknowledged is applied once. Everything else was answered with 503.
func TestNodesFail(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	c := startCluster(ctx, t)
	databaseURL := testkit.DatabaseURL(t)
	conn := applied(ctx, t, databaseURL)
	d := newDeployment(t, c.urls(), databaseURL, "CLERKSYNC_LOG_REPLICAS=3")
	receivers := []string{d.serve(ctx, "receiver").endpoint, d.serve(ctx, "receiver").endpoint}
	for range 2 {
		d.serve(ctx, "worker")
	}
	s := newSvix(ctx, t, receivers...)
	s.awaitService(ctx)
	c.awaitWhole(allGroups...)
	t.Logf("the deployment is at work after %s", time.Since(began).Round(time.Millisecond))

	fault := func(name, group string, n *node, happens, ends func()) {
		t.Helper()
		began := time.Now()
		s.begin()
		happens()
		var elected *node
		await(ctx, t, name+": there is a leader", func() (bool, any) {
			elected = c.leader(group, n)
			return elected != nil && elected != n, nil
		})
		after := time.Since(began)
		s.awaitService(ctx)
		ends()
		c.awaitWhole(allGroups...)
		s.awaitService(ctx)
		all, worst := s.gaps()
		t.Logf("%s: without service for %s, one receiver for %s; a leader after %s; whole after %s", name,
			all.Round(time.Millisecond), worst.Round(time.Millisecond), after.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		require.Less(t, worst, outageLimit, name)
	}
	left := map[*node]bool{}
	for _, n := range c.nodes {
		left[n] = true
	}
	kill := func(name, group string, n *node) {
		t.Helper()
		fault(name, group, n, func() { c.kill(n) }, func() { c.start(n) })
		delete(left, n)
	}
	kill("leader of the events killed", eventlog.Stream, c.awaitLeader(eventlog.Stream))
	kill("leader of the cluster killed", "", c.awaitLeader(""))
	for len(left) > 0 {
		for n := range left {
			kill("node killed", eventlog.Stream, n)
		}
	}
	n := c.awaitLeader(eventlog.Stream)
	fault("leader of the events cut off", eventlog.Stream, n, func() {
		for _, link := range c.links(n) {
			link.Hang()
		}
	}, func() {
		for _, link := range c.links(n) {
			link.Restore("")
		}
	})
	n = c.awaitLeader(eventlog.Stream)
	fault("leader of the events frozen", eventlog.Stream, n,
		func() { c.signal(n, syscall.SIGSTOP) }, func() { c.signal(n, syscall.SIGCONT) })

	s.check(ctx, conn, c.urls())
	t.Logf("all after %s", time.Since(began).Round(time.Millisecond))
}

// TestNodeWithoutPeers: a node that has lost the others still answers its clients, and takes
// nothing. A receiver and a worker that are connected to it go to another one.
func TestNodeWithoutPeers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c := startCluster(ctx, t)
	connect := func() *nats.Conn {
		nc, err := nats.Connect(c.urls(), nats.DontRandomize(), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1))
		require.NoError(t, err)
		t.Cleanup(nc.Close)
		return nc
	}
	receives, works := connect(), connect()
	alone := c.nodes[0]
	for _, nc := range []*nats.Conn{receives, works} {
		require.Equal(t, alone.name, nc.ConnectedServerName())
	}
	var log *eventlog.Log
	await(ctx, t, "the cluster takes a log", func() (ok bool, state any) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // the cluster may not answer a request
		defer cancel()
		var err error
		log, err = eventlog.Open(ctx, receives, eventlog.Options{Replicas: 3})
		return err == nil, err
	})
	defer log.Close()
	worker, err := eventlog.Attach(ctx, works, "")
	require.NoError(t, err)
	defer worker.Close()
	delivered := make(chan string, 100)
	var consumer sync.WaitGroup
	defer consumer.Wait()
	defer cancel()
	consumer.Go(func() {
		worker.Consume(ctx, func(m *eventlog.Message) {
			m.Ack()
			delivered <- m.Event.ID
		})
	})
	store := func(id string) error {
		_, err := log.Append(ctx, testkit.Event(id, "user.created", 1767225600000, testkit.UserData("user_1", "", "", 1, 1)))
		return err
	}
	arrives := func(id string) {
		t.Helper()
		await(ctx, t, id+" is delivered", func() (bool, any) {
			select {
			case got := <-delivered:
				return got == id, got
			default:
				return false, nil
			}
		})
	}
	require.NoError(t, store("msg_1"))
	arrives("msg_1")
	c.awaitWhole(allGroups...)

	began := time.Now()
	for _, link := range c.links(alone)[1:] { // clients stay
		link.Hang()
	}
	await(ctx, t, "an event is stored", func() (bool, any) {
		err := store("msg_2") // waits up to 8 s
		return err == nil, err
	})
	stored := time.Since(began)
	arrives("msg_2")
	for _, nc := range []*nats.Conn{receives, works} {
		require.NotEqual(t, alone.name, nc.ConnectedServerName())
	}
	t.Logf("an event was stored after %s, and delivered after %s", stored.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	require.Less(t, stored, outageLimit)
	for _, link := range c.links(alone)[1:] {
		link.Restore("")
	}
}
