package replay_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

const base = int64(1767225600000)

// world is a log and tables of a test's own.
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

func user(i int) *clerk.Event {
	return testkit.Event(fmt.Sprint("msg_", i), "user.created", base+int64(i),
		testkit.UserData(fmt.Sprint("user_", i), fmt.Sprintf("%d@example.com", i), "name", base, base))
}

func users(from, to int) []*clerk.Event {
	var all []*clerk.Event
	for i := from; i < to; i++ {
		all = append(all, user(i))
	}
	return all
}

// append stores events and returns the sequence of the last.
func (w *world) append(events ...*clerk.Event) uint64 {
	w.t.Helper()
	var last uint64
	for _, e := range events {
		stored, err := w.log.Append(context.Background(), e)
		require.NoError(w.t, err)
		last = stored.Seq
	}
	return last
}

func (w *world) scan(f eventlog.Filter) *eventlog.Scan {
	w.t.Helper()
	scan, err := w.log.Events(context.Background(), f, false)
	require.NoError(w.t, err)
	w.t.Cleanup(scan.Close)
	return scan
}

// replay replays what a filter selects.
func (w *world) replay(f eventlog.Filter) replay.Counts {
	w.t.Helper()
	r := replay.NewEvents(w.scan(f), w.log, replay.Options{Apply: w.store.Apply})
	require.NoError(w.t, r.Run(w.t.Context()))
	return r.Counts()
}

// retry tries all dead letters again.
func (w *world) retry(change ...func(*replay.LettersOptions)) replay.Counts {
	w.t.Helper()
	scan, err := w.log.Letters(context.Background(), eventlog.Filter{})
	require.NoError(w.t, err)
	defer scan.Close()
	o := replay.LettersOptions{Log: w.log, Options: replay.Options{Apply: w.store.Apply}}
	for _, f := range change {
		f(&o)
	}
	r := replay.NewLetters(scan, o)
	require.NoError(w.t, r.Run(w.t.Context()))
	return r.Counts()
}

func (w *world) letters() []*eventlog.Message {
	w.t.Helper()
	scan, err := w.log.Letters(context.Background(), eventlog.Filter{})
	require.NoError(w.t, err)
	return drain(w.t, scan)
}

// stored are all events of the log.
func (w *world) stored() []*eventlog.Message {
	w.t.Helper()
	return drain(w.t, w.scan(eventlog.Filter{}))
}

func drain(t *testing.T, scan *eventlog.Scan) []*eventlog.Message {
	t.Helper()
	defer scan.Close()
	var all []*eventlog.Message
	for {
		m, err := scan.Next(context.Background())
		if err == io.EOF {
			return all
		}
		require.NoError(t, err)
		all = append(all, m)
	}
}
