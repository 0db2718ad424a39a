package tombstone_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/tombstone"
)

func (w *world) restorer() *tombstone.Restorer {
	return &tombstone.Restorer{Log: w.log, Store: w.store}
}

func (w *world) prepare(id string) *tombstone.Restoration {
	w.t.Helper()
	kind, _ := clerk.KindOfID(id)
	plan, err := w.restorer().Prepare(context.Background(), kind, id)
	w.check(err)
	return plan
}

// restore returns the memberships that were to come back.
func (w *world) restore(id string) []string {
	w.t.Helper()
	plan := w.prepare(id)
	w.check(w.restorer().Restore(context.Background(), plan))
	list := []string{}
	for _, m := range plan.Memberships {
		list = append(list, m.Change.ID)
	}
	return list
}

func (w *world) memberships() []string {
	w.t.Helper()
	return w.rows("SELECT clerk_id FROM org_memberships ORDER BY clerk_id")
}

// TestRestoredUserHasTheMembershipsOfThatTime, however their end was told: not at all,
// before or after the delete of the user, whole or by the bare id. Whoever had left
// long before does not come back.
func TestRestoredUserHasTheMembershipsOfThatTime(t *testing.T) {
	t.Parallel()
	const deleted = 100 * second
	for name, ends := range map[string][]*clerk.Event{
		"not told":          {userDeletedAt(deleted, "user_1")},
		"before":            {leftAt(deleted-2*second, "orgmem_1_1", 2), leftAt(deleted-9*second, "orgmem_1_2", 2), userDeletedAt(deleted, "user_1")},
		"after":             {userDeletedAt(deleted, "user_1"), leftAt(deleted+2*second, "orgmem_1_1", 2), leftAt(deleted+60*second, "orgmem_1_2", 2)},
		"bare, before":      {leftBareAt(deleted-2*second, "orgmem_1_1"), userDeletedAt(deleted, "user_1")},
		"bare, after":       {userDeletedAt(deleted, "user_1"), leftBareAt(deleted+2*second, "orgmem_1_2")},
		"deleted twice":     {userDeletedAt(deleted, "user_1"), leftAt(deleted, "orgmem_1_1", 2), userDeletedAt(deleted+60*second, "user_1")},
		"one of them":       {leftAt(deleted-second, "orgmem_1_1", 2), userDeletedAt(deleted, "user_1")},
		"in another order":  {leftAt(deleted, "orgmem_1_2", 2), leftAt(deleted-second, "orgmem_1_1", 2), userDeletedAt(deleted-second, "user_1")},
		"and a late update": {userDeletedAt(deleted, "user_1"), joinedAt(2, "orgmem_1_1")},
	} {
		w := newWorld(t)
		w.emit(userAt(1, "user_1"), userAt(1, "user_2"), orgAt(1, "org_1"), orgAt(1, "org_2"), orgAt(1, "org_3"), orgAt(1, "org_4"))
		w.emit(joinedAt(2, "orgmem_1_1"), joinedAt(2, "orgmem_1_2"), joinedAt(2, "orgmem_1_3"), joinedAt(2, "orgmem_1_4"), joinedAt(2, "orgmem_2_1"))
		w.emit(leftAt(deleted-12*second, "orgmem_1_3", 2), leftBareAt(deleted-12*second, "orgmem_1_4"))
		want := w.rows("SELECT to_jsonb(u)::text FROM users u ORDER BY clerk_id")
		w.emit(ends...)
		require.Equal(t, []string{"orgmem_2_1"}, w.memberships(), name)
		require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2"}, w.restore("user_1"), name)
		require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2", "orgmem_2_1"}, w.memberships(), name)
		require.Equal(t, want, w.rows("SELECT to_jsonb(u)::text FROM users u ORDER BY clerk_id"), name)

		// Deleted once more, it can be restored once more: the first delete is no reason
		// to leave anybody out.
		later := deleted + 1000*24*3600*second // after now, when it was restored
		w.emit(userDeletedAt(later, "user_1"))
		require.Equal(t, []string{"orgmem_2_1"}, w.memberships(), name)
		require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2"}, w.restore("user_1"), name)
		require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2", "orgmem_2_1"}, w.memberships(), name)
	}
}

// TestMembershipOfADeletedOrganizationStaysAway, and comes back with it.
func TestMembershipOfADeletedOrganizationStaysAway(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{false, true} {
		w := newWorld(t)
		w.emit(userAt(1, "user_1"), orgAt(1, "org_1"), orgAt(1, "org_2"), joinedAt(2, "orgmem_1_1"), joinedAt(2, "orgmem_1_2"))
		w.emit(orgDeletedAt(10*second, "org_1"))
		if told {
			w.emit(leftAt(11*second, "orgmem_1_1", 2))
		}
		w.emit(userDeletedAt(60*second, "user_1"))
		w.restore("user_1")
		require.Equal(t, []string{"orgmem_1_2"}, w.memberships())
		require.Equal(t, []string{"orgmem_1_1"}, w.restore("org_1"))
		require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2"}, w.memberships())
	}
}

// TestOrganizationIsRestored with its members of that time.
func TestOrganizationIsRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(orgAt(1, "org_1"), userAt(1, "user_1"), userAt(1, "user_2"), userAt(1, "user_3"))
	w.emit(joinedAt(2, "orgmem_1_1"), joinedAt(2, "orgmem_2_1"), joinedAt(2, "orgmem_3_1"), orgAt(3, "org_1"))
	want := w.rows("SELECT to_jsonb(o)::text FROM organizations o")
	w.emit(leftAt(4, "orgmem_3_1", 2), orgDeletedAt(60*second, "org_1"), leftAt(61*second, "orgmem_2_1", 2))
	require.Empty(t, w.memberships())
	plan := w.prepare("org_1")
	require.Equal(t, clerk.KindOrganization, plan.Kind)
	require.Equal(t, base+60*second, plan.DeletedAt.UnixMilli())
	require.EqualValues(t, 8, plan.Entity.Seq)
	require.Equal(t, []string{"orgmem_1_1", "orgmem_2_1"}, w.restore("org_1"))
	require.Equal(t, []string{"orgmem_1_1", "orgmem_2_1"}, w.memberships())
	require.Equal(t, want, w.rows("SELECT to_jsonb(o)::text FROM organizations o"))
}

// TestMembershipIsRestored alone, unless somebody has its seat by now.
func TestMembershipIsRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(joinedAt(2, "orgmem_1_1"), leftAt(60*second, "orgmem_1_1", 2), joinedAt(2, "orgmem_1_2"), leftBareAt(60*second, "orgmem_1_2"))
	require.Empty(t, w.memberships())
	require.Empty(t, w.restore("orgmem_1_1"))
	require.Empty(t, w.restore("orgmem_1_2"))
	require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2"}, w.memberships())

	again := testkit.Event("msg_again", "organizationMembership.created", base+70*second,
		testkit.MembershipData("orgmem_again", "user_1", "org_3", "org:admin", base+70*second, base+70*second))
	w.emit(joinedAt(2, "orgmem_1_3"), leftAt(60*second, "orgmem_1_3", 2), again)
	w.restore("orgmem_1_3")
	require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2", "orgmem_again"}, w.memberships())
}

// TestRejoinedMemberComesBackOnce: of two memberships of the same two, the later one.
func TestRejoinedMemberComesBackOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	again := testkit.Event("msg_again", "organizationMembership.created", base+70*second,
		testkit.MembershipData("orgmem_again", "user_1", "org_1", "org:admin", base+70*second, base+70*second))
	w.emit(userAt(1, "user_1"), joinedAt(2, "orgmem_1_1"), again, userDeletedAt(71*second, "user_1")) // the end of the first was lost
	w.restore("user_1")
	require.Equal(t, []string{"orgmem_again"}, w.memberships())
}

// TestWhatCameBetweenPrepareAndRestoreIsApplied: it was stale against the tombstone.
func TestWhatCameBetweenPrepareAndRestoreIsApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(userAt(1, "user_1"), userDeletedAt(10, "user_1"))
	plan := w.prepare("user_1")
	w.emit(userAt(20, "user_1"), joinedAt(21, "orgmem_1_1"), userAt(1, "user_2"))
	require.NoError(t, w.restorer().Restore(t.Context(), plan))
	require.Equal(t, []string{"orgmem_1_1"}, w.memberships())
	require.Equal(t, "msg_user_1_20", w.head("user_1").EventID)
}

// TestRestoredTwiceAtOnce: the slower one is told.
func TestRestoredTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(userAt(1, "user_1"), userDeletedAt(10, "user_1"))
	plan := w.prepare("user_1")
	w.restore("user_1")
	require.ErrorIs(t, w.restorer().Restore(t.Context(), plan), store.ErrNotDeleted)
}

// TestUnfinishedRestoreSaysSo: it is restored, and where to go on.
func TestUnfinishedRestoreSaysSo(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	w := &world{t: t, log: testkit.OpenLog(t, nc), store: testkit.Store(t)}
	w.emit(userAt(1, "user_1"), userDeletedAt(10, "user_1"))
	plan := w.prepare("user_1")
	nc.Close()
	err := w.restorer().Restore(t.Context(), plan)
	require.ErrorIs(t, err, tombstone.ErrUnfinished)
	require.ErrorContains(t, err, "it is restored, but not all that was stored meanwhile is applied from 3 on: ")
	require.False(t, w.head("user_1").Deleted)
}

// TestLiftedDeleteDoesNothing when it is delivered or replayed again; a new one
// deletes.
func TestLiftedDeleteDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, left := userDeletedAt(10, "user_1"), leftAt(11, "orgmem_1_1", 2)
	w.emit(userAt(1, "user_1"), joinedAt(2, "orgmem_1_1"), old, left)
	w.restore("user_1")
	tables := testkit.Tables(t, w.store)
	for _, e := range []*clerk.Event{old, left, userDeletedAt(12, "user_1")} {
		require.Equal(t, store.Stale, w.apply(e, 99))
		require.Equal(t, tables, testkit.Tables(t, w.store))
	}
	require.Equal(t, store.Applied, w.apply(userDeletedAt(1000*24*3600*second, "user_1"), 99))
	require.True(t, w.head("user_1").Deleted)
	require.Empty(t, w.memberships())
}

// TestWhatCannotBeRestored, and why.
func TestWhatCannotBeRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(userAt(1, "user_live"), orgAt(1, "org_live"), joinedAt(2, "orgmem_1_1"))
	w.emit(userDeletedAt(3, "user_bare"), leftBareAt(3, "orgmem_bare"))
	w.emit(userAt(1, "user_erased"), userDeletedAt(3, "user_erased"))
	w.erase("user_erased")
	w.emit(userAt(1, "user_purged"), userDeletedAt(3, "user_purged"))
	for _, m := range w.events() { // too old for the log
		if m.Event.Envelope.UserID == "user_purged" && m.Event.Envelope.Type == "user.updated" {
			require.NoError(t, w.log.Erase(t.Context(), m.Seq))
		}
	}
	broken := userAt(1, "user_broken")
	broken.Body = append(broken.Body, '}')
	w.append(broken)
	w.emit(userDeletedAt(3, "user_broken"))
	for id, want := range map[string]error{
		"user_live": store.ErrNotDeleted, "org_live": store.ErrNotDeleted, "orgmem_1_1": store.ErrNotDeleted, "user_1": store.ErrNotDeleted,
		"user_bare": tombstone.ErrNothingLeft, "orgmem_bare": tombstone.ErrNothingLeft, "user_erased": tombstone.ErrNothingLeft,
		"user_purged": tombstone.ErrNothingLeft, "user_broken": tombstone.ErrNothingLeft,
		"user_nobody": tombstone.ErrUnknown, "org_nobody": tombstone.ErrUnknown, "orgmem_nobody": tombstone.ErrUnknown,
	} {
		kind, _ := clerk.KindOfID(id)
		_, err := w.restorer().Prepare(t.Context(), kind, id)
		require.ErrorIs(t, err, want, id)
		require.ErrorContains(t, err, id)
	}
}

// TestRestoredIsAsIfNeverDeleted: in any history, arrived in any order, with the rest
// of it stored before or between, the rows are those of the history without the
// delete and what it brought about.
func TestRestoredIsAsIfNeverDeleted(t *testing.T) {
	t.Parallel()
	w, round := newWorld(t), 0
	rapid.Check(t, func(r *rapid.T) {
		w := &world{t: r, log: w.log, store: w.store}
		history := testkit.Histories().Draw(r, "history")
		round++ // JetStream remembers ids
		for _, e := range history {
			e.ID += fmt.Sprintf("_%06d", round)
		}
		var deletes []int
		for i, e := range history {
			if kind, _ := clerk.KindOfID(e.Envelope.EntityID); kind != clerk.KindMembership && testkit.Change(e).Version.Deleted {
				deletes = append(deletes, i)
			}
		}
		if len(deletes) == 0 {
			return
		}
		at := rapid.SampledFrom(deletes).Draw(r, "delete")
		id := history[at].Envelope.EntityID
		// Whatever ended within the seconds before it is part of the cascade, which no
		// history is long enough to tell apart: all that ended comes back, unless it is
		// of another deleted entity.
		mine := map[string]bool{id: true}
		for _, e := range history {
			if m := testkit.Change(e).Membership; m != nil && (m.UserID == id || m.OrgID == id) {
				mine[e.Envelope.EntityID] = true
			}
		}
		lifted := func(e *clerk.Event) bool {
			return mine[e.Envelope.EntityID] && testkit.Change(e).Version.Deleted
		}
		testkit.Truncate(r, w.store)
		for _, e := range history {
			if !lifted(e) {
				w.apply(e, 1)
			}
		}
		want := testkit.Tables(r, w.store)

		testkit.Truncate(r, w.store)
		w.empty()
		w.emit(rapid.Permutation(history).Draw(r, "arrival")...)
		w.restore(id)
		if diff := cmp.Diff(want, testkit.Tables(r, w.store)); diff != "" {
			r.Fatal(diff)
		}
		for _, e := range slices.DeleteFunc(slices.Clone(history), func(e *clerk.Event) bool { return !lifted(e) }) {
			w.apply(e, 1) // delivered again
		}
		if diff := cmp.Diff(want, testkit.Tables(r, w.store)); diff != "" {
			r.Fatal(diff)
		}
	})
}

// empty empties the log.
func (w *world) empty() {
	w.t.Helper()
	for _, m := range w.events() {
		w.check(w.log.Erase(context.Background(), m.Seq))
	}
}
