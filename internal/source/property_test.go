package source_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// instanceState is what the Backend API returns after a part of a history: the data of the
// entities that are not deleted.
type instanceState struct {
	data map[string][]byte // by Clerk id
	of   map[string]*clerk.Change
}

func (s *instanceState) add(e *clerk.Event) {
	c := testkit.Change(e)
	if !c.Version.Deleted {
		s.data[c.ID], s.of[c.ID] = e.Body, c
		return
	}
	delete(s.data, c.ID)
	for id, m := range s.of { // the memberships go with their user and their organization
		if m.Membership != nil && (m.Membership.UserID == c.ID || m.Membership.OrgID == c.ID) {
			delete(s.data, id)
		}
	}
}

// snapshot returns the snapshot of an entity.
func (s *instanceState) snapshot(id string) *clerk.Event {
	kind, _ := clerk.KindOfID(id)
	snapshot, err := clerk.NewSnapshot(kind, dataOf(s.data[id]), "ins_test", clerk.OriginBackfill, time.UnixMilli(1767225700000))
	if err != nil {
		panic(err)
	}
	return snapshot.Event
}

// dataOf returns the data in the body of an event of the testkit, whose keys are sorted.
func dataOf(body []byte) []byte {
	const before, behind = `{"data":`, `,"instance_id":`
	for i := len(body) - len(behind); i > 0; i-- {
		if string(body[i:i+len(behind)]) == behind {
			return body[len(before):i]
		}
	}
	panic("no data")
}

// TestSnapshotsAndWebhooksConverge: snapshots of every state that an instance was ever in,
// among its webhooks, all of them in any order, any of them more than once, make the same
// rows as the webhooks in order.
func TestSnapshotsAndWebhooksConverge(t *testing.T) {
	t.Parallel()
	expected, st := testkit.Store(t), testkit.Store(t)
	rapid.Check(t, func(r *rapid.T) {
		history := testkit.Histories().Draw(r, "history")
		want := testkit.InOrder(t, expected, history)
		state := &instanceState{map[string][]byte{}, map[string]*clerk.Change{}}
		all := append([]*clerk.Event(nil), history...)
		for _, e := range history {
			state.add(e)
			for _, id := range ids(state.data) {
				if rapid.IntRange(0, 3).Draw(r, "read") == 0 {
					all = append(all, state.snapshot(id))
				}
			}
		}
		if len(all) == 0 {
			return
		}
		for range rapid.IntRange(0, 5).Draw(r, "again") {
			all = append(all, rapid.SampledFrom(all).Draw(r, "which"))
		}
		testkit.Truncate(t, st)
		apply(r, st, rapid.Permutation(all).Draw(r, "arrivals"))
		if diff := cmp.Diff(want, testkit.Tables(t, st)); diff != "" {
			r.Fatalf("(-webhooks in order +with snapshots):\n%s", diff)
		}
	})
}

// TestSnapshotsReplaceLostWebhooks: whichever webhooks never came, except for deletes,
// snapshots of what there is make the same rows as all webhooks. Those of one entity and
// one millisecond come together or not at all: nothing tells their states apart.
func TestSnapshotsReplaceLostWebhooks(t *testing.T) {
	t.Parallel()
	expected, st := testkit.Store(t), testkit.Store(t)
	rapid.Check(t, func(r *rapid.T) {
		history := testkit.Histories().Draw(r, "history")
		testkit.InOrder(t, expected, history)
		state := &instanceState{map[string][]byte{}, map[string]*clerk.Change{}}
		var all []*clerk.Event
		newest, delivered := map[string]clerk.Version{}, map[string]bool{}
		for _, e := range history {
			c := testkit.Change(e)
			// Of two changes in a millisecond the rows show the one emitted last.
			if was, ok := newest[c.ID]; !ok || c.Version.Compare(was) > 0 || c.Version.Deleted {
				newest[c.ID] = c.Version
				state.add(e)
			}
			moment := fmt.Sprint(c.ID, c.Version.UpdatedAt)
			if _, ok := delivered[moment]; !ok {
				delivered[moment] = rapid.Bool().Draw(r, "delivered")
			}
			if c.Version.Deleted || delivered[moment] {
				all = append(all, e)
			}
		}
		for _, id := range ids(state.data) {
			all = append(all, state.snapshot(id))
		}
		if len(all) == 0 {
			return
		}
		testkit.Truncate(t, st)
		apply(r, st, rapid.Permutation(all).Draw(r, "arrivals"))
		for _, query := range []string{
			"SELECT clerk_id || ' ' || coalesce(primary_email, '') || ' ' || first_name FROM active_users ORDER BY 1",
			"SELECT clerk_id || ' ' || name FROM active_organizations ORDER BY 1",
			"SELECT clerk_id || ' ' || org_id || ' ' || role FROM org_memberships ORDER BY 1",
		} {
			if diff := cmp.Diff(rows(t, expected, query), rows(t, st, query)); diff != "" {
				r.Fatalf("(-all webhooks +snapshots):\n%s", diff)
			}
		}
	})
}

func rows(t *testing.T, st *store.Store, query string) []string {
	return (&testkit.World{T: t, Store: st}).Rows(query)
}

func ids(data map[string][]byte) []string {
	var all []string
	for _, kind := range []string{"user", "org", "orgmem"} { // not the order of the map, which is random
		for i := range 100 {
			if id := fmt.Sprintf("%s_%d", kind, i); data[id] != nil {
				all = append(all, id)
			}
		}
	}
	return all
}

// apply applies events in batches of any size.
func apply(r *rapid.T, st *store.Store, events []*clerk.Event) {
	for seq := 0; len(events) > 0; {
		n := min(len(events), rapid.IntRange(1, 7).Draw(r, "batch"))
		var batch []store.Entry
		for _, e := range events[:n] {
			seq++
			batch = append(batch, store.Entry{Change: testkit.Change(e), Seq: uint64(seq)})
		}
		_, err := st.Apply(context.Background(), batch)
		require.NoError(r, err)
		events = events[n:]
	}
}
