package testkit

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
)

// World is an event log and the tables of one test.
type World struct {
	T     T
	NC    *nats.Conn // of the log
	Log   *eventlog.Log
	Store *store.Store
}

// NewWorld makes an empty world.
func NewWorld(t testing.TB) *World {
	t.Helper()
	nc := Connect(t, NATS(t))
	return &World{T: t, NC: nc, Log: OpenLog(t, nc), Store: Store(t)}
}

// Check fails the test with an error.
func (w *World) Check(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Append stores events and returns the sequence of the last.
func (w *World) Append(events ...*clerk.Event) uint64 {
	w.T.Helper()
	var last uint64
	for _, e := range events {
		stored, err := w.Log.Append(context.Background(), e)
		w.Check(err)
		last = stored.Seq
	}
	return last
}

// Apply applies a stored event, as the worker does.
func (w *World) Apply(e *clerk.Event, seq uint64) store.Outcome {
	w.T.Helper()
	outcomes, err := w.Store.Apply(context.Background(), []store.Entry{{Change: Change(e), Seq: seq}})
	w.Check(err)
	return outcomes[0]
}

// Emit stores events and applies them.
func (w *World) Emit(events ...*clerk.Event) {
	w.T.Helper()
	for _, e := range events {
		w.Apply(e, w.Append(e))
	}
}

// Park makes a dead letter of an event that has a sequence in the log.
func (w *World) Park(e *clerk.Event, seq uint64) {
	w.T.Helper()
	w.Check(w.Log.Park(context.Background(), e, eventlog.Death{Reason: "undecodable", Err: errors.New("why"), Attempts: 1, Seq: seq}))
}

// Events returns all stored events.
func (w *World) Events() []*eventlog.Message {
	w.T.Helper()
	scan, err := w.Log.Events(context.Background(), eventlog.Filter{}, false)
	w.Check(err)
	return w.all(scan)
}

// Letters returns all dead letters.
func (w *World) Letters() []*eventlog.Message {
	w.T.Helper()
	scan, err := w.Log.Letters(context.Background(), eventlog.Filter{})
	w.Check(err)
	return w.all(scan)
}

func (w *World) all(scan *eventlog.Scan) []*eventlog.Message {
	w.T.Helper()
	var all []*eventlog.Message
	w.Check(scan.Each(context.Background(), func(m *eventlog.Message) error {
		all = append(all, m)
		return nil
	}))
	return all
}

// Empty removes all stored events.
func (w *World) Empty() {
	w.T.Helper()
	for _, m := range w.Events() {
		w.Check(w.Log.Erase(context.Background(), m.Seq))
	}
}

// Head returns the head of an entity, nil when there is none.
func (w *World) Head(id string) *db.EntityHead {
	w.T.Helper()
	kind, _ := clerk.KindOfID(id)
	head, err := w.Store.Head(context.Background(), kind, id)
	w.Check(err)
	return head
}

// Rows returns the texts that a query selects.
func (w *World) Rows(query string) []string {
	w.T.Helper()
	found, err := w.Store.Pool().Query(context.Background(), query)
	w.Check(err)
	defer found.Close()
	list := []string{}
	for found.Next() {
		var text string
		w.Check(found.Scan(&text))
		list = append(list, text)
	}
	w.Check(found.Err())
	return list
}

// IDs returns the svix-ids of messages.
func IDs(all []*eventlog.Message) []string {
	list := []string{}
	for _, m := range all {
		list = append(list, m.Event.ID)
	}
	return list
}
