package tombstone_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/tombstone"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// base is when the histories of these tests begin. A second of theirs is enough for
// whatever happens after them not to be part of a cascade.
const (
	base   = int64(1767225600000)
	second = int64(1000)
)

// world is a log and tables of a test's own.
type world struct {
	t     testkit.T
	log   *eventlog.Log
	store *store.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, log: testkit.Log(t), store: testkit.Store(t)}
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// append stores an event, which is not applied.
func (w *world) append(e *clerk.Event) uint64 {
	w.t.Helper()
	stored, err := w.log.Append(context.Background(), e)
	w.check(err)
	return stored.Seq
}

// emit stores events and applies them, as the worker does.
func (w *world) emit(events ...*clerk.Event) {
	w.t.Helper()
	for _, e := range events {
		w.apply(e, w.append(e))
	}
}

func (w *world) apply(e *clerk.Event, seq uint64) store.Outcome {
	w.t.Helper()
	outcomes, err := w.store.Apply(context.Background(), []store.Entry{{Change: testkit.Change(e), Seq: seq}})
	w.check(err)
	return outcomes[0]
}

func (w *world) park(e *clerk.Event, seq uint64) {
	w.t.Helper()
	w.check(w.log.Park(context.Background(), e, eventlog.Death{Reason: "undecodable", Err: errors.New("why"), Attempts: 1, Seq: seq}))
}

func (w *world) eraser() *tombstone.Eraser {
	return &tombstone.Eraser{Log: w.log, Store: w.store}
}

// erase finds and erases a user.
func (w *world) erase(id string) (events, letters int) {
	w.t.Helper()
	p, err := w.eraser().Find(context.Background(), id)
	w.check(err)
	events, letters, err = w.eraser().Erase(context.Background(), p)
	w.check(err)
	return events, letters
}

func (w *world) events() []*eventlog.Message {
	w.t.Helper()
	scan, err := w.log.Events(context.Background(), eventlog.Filter{}, false)
	w.check(err)
	return w.drain(scan)
}

func (w *world) letters() []*eventlog.Message {
	w.t.Helper()
	scan, err := w.log.Letters(context.Background(), eventlog.Filter{})
	w.check(err)
	return w.drain(scan)
}

func (w *world) drain(scan *eventlog.Scan) []*eventlog.Message {
	w.t.Helper()
	defer scan.Close()
	var all []*eventlog.Message
	for {
		m, err := scan.Next(context.Background())
		if err == io.EOF {
			return all
		}
		w.check(err)
		all = append(all, m)
	}
}

// ids are the svix-ids of messages.
func ids(all []*eventlog.Message) []string {
	list := []string{}
	for _, m := range all {
		list = append(list, m.Event.ID)
	}
	return list
}

func (w *world) head(id string) *db.EntityHead {
	w.t.Helper()
	kind, _ := clerk.KindOfID(id)
	shown, err := w.store.Show(context.Background(), kind, id)
	w.check(err)
	return shown.Head
}

func (w *world) erased(id string) bool {
	w.t.Helper()
	h := w.head(id)
	return h != nil && h.Deleted && h.ErasedAt != nil && !h.Erasing
}

// rows reads a column of texts.
func (w *world) rows(query string) []string {
	w.t.Helper()
	found, err := w.store.Pool().Query(context.Background(), query)
	w.check(err)
	defer found.Close()
	list := []string{}
	for found.Next() {
		var text string
		w.check(found.Scan(&text))
		list = append(list, text)
	}
	w.check(found.Err())
	return list
}

// The events of these tests: at is after base, and makes the svix-id too.

func userAt(at int64, id string) *clerk.Event {
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "user.updated", base+at,
		testkit.UserData(id, id+"@example.com", "name of "+id, base, base+at))
}

func userDeletedAt(at int64, id string) *clerk.Event {
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "user.deleted", base+at, testkit.DeletedData("user", id))
}

func orgAt(at int64, id string) *clerk.Event {
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "organization.updated", base+at, testkit.OrganizationData(id, "name of "+id, base, base+at))
}

func orgDeletedAt(at int64, id string) *clerk.Event {
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "organization.deleted", base+at, testkit.DeletedData("organization", id))
}

// joinedAt is a membership; its id says of whom in what: orgmem_1_2.
func joinedAt(at int64, id string) *clerk.Event {
	var u, o int
	if _, err := fmt.Sscanf(id, "orgmem_%d_%d", &u, &o); err != nil {
		panic(err)
	}
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "organizationMembership.created", base+at,
		testkit.MembershipData(id, fmt.Sprint("user_", u), fmt.Sprint("org_", o), "org:member", base+at, base+at))
}

func leftAt(at int64, id string, joined int64) *clerk.Event {
	e := joinedAt(joined, id)
	e = testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "organizationMembership.deleted", base+at,
		testkit.MembershipData(id, e.Envelope.UserID, e.Envelope.OrgID, "org:member", base+joined, base+joined))
	return e
}

// leftBareAt is a delete that names neither the user nor the organization.
func leftBareAt(at int64, id string) *clerk.Event {
	return testkit.Event(fmt.Sprintf("msg_%s_%d", id, at), "organizationMembership.deleted", base+at, testkit.DeletedData("organization_membership", id))
}

func requireEmptyButIDs(t require.TestingT, row map[string]any) {
	for name, value := range row {
		switch name {
		case "id", "clerk_id", "deleted_at":
			require.NotNil(t, value, name)
		case "public_metadata":
			require.Equal(t, map[string]any{}, value)
		case "email_verified", "banned", "locked", "deprovisioned":
			require.Equal(t, false, value, name)
		default:
			require.Nil(t, value, name)
		}
	}
}
