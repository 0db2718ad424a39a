package testkit

import (
	"testing"

	"github.com/nats-io/nats.go"

	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
)

// NATS starts a server for one test, without fsync.
func NATS(t testing.TB) *embeddednats.Server {
	t.Helper()
	n, err := embeddednats.Start(t.Context(), embeddednats.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return n
}

// Connect connects to a server.
func Connect(t testing.TB, n *embeddednats.Server) *nats.Conn {
	t.Helper()
	nc, err := n.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Log opens an event log on a server for one test.
func Log(t testing.TB) *eventlog.Log {
	t.Helper()
	return OpenLog(t, Connect(t, NATS(t)))
}

// OpenLog opens an event log.
func OpenLog(t testing.TB, nc *nats.Conn) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(t.Context(), nc, eventlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}
