package replay_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/erasure"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/testkit"
)

// Replays and workers of the tests run with these, the configuration's defaults.
const (
	appliers = 4
	batch    = 500
)

// world is a log and tables of a test's own.
type world struct {
	*testkit.World
	t *testing.T
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{testkit.NewWorld(t), t}
}

func user(i int) *clerk.Event {
	return testkit.Event(fmt.Sprint("msg_", i), "user.created", testkit.Base+int64(i),
		testkit.UserData(fmt.Sprint("user_", i), fmt.Sprintf("%d@example.com", i), "name", testkit.Base, testkit.Base))
}

func users(from, to int) []*clerk.Event {
	var all []*clerk.Event
	for i := from; i < to; i++ {
		all = append(all, user(i))
	}
	return all
}

func (w *world) scan(f eventlog.Filter) *eventlog.Scan {
	w.T.Helper()
	scan, err := w.Log.Events(context.Background(), f, false)
	w.Check(err)
	w.t.Cleanup(scan.Close)
	return scan
}

// replay replays what a filter selects.
func (w *world) replay(f eventlog.Filter) replay.Counts {
	w.T.Helper()
	r := replay.NewEvents(w.scan(f), w.Log, replay.Options{Apply: w.Store.Apply, Appliers: appliers, Batch: batch})
	w.Check(r.Run(w.t.Context()))
	return r.Counts()
}

// retry tries all dead letters again.
func (w *world) retry(change ...func(*replay.LettersOptions)) replay.Counts {
	w.T.Helper()
	scan, err := w.Log.Letters(context.Background(), eventlog.Filter{})
	w.Check(err)
	defer scan.Close()
	o := replay.LettersOptions{Log: w.Log, Options: replay.Options{Apply: w.Store.Apply, Appliers: appliers, Batch: batch}}
	for _, f := range change {
		f(&o)
	}
	r := replay.NewLetters(scan, o)
	w.Check(r.Run(w.t.Context()))
	return r.Counts()
}

// erase removes everything about a user.
func (w *world) erase(id string) {
	w.t.Helper()
	e := erasure.Eraser{Log: w.Log, Store: w.Store}
	p, err := e.Find(context.Background(), id)
	w.Check(err)
	_, _, err = e.Erase(context.Background(), p)
	w.Check(err)
}
