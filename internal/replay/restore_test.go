package replay_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func (w *world) restorer() *replay.Restorer {
	return &replay.Restorer{Log: w.Log, Store: w.Store}
}

func (w *world) prepare(id string) *replay.Restoration {
	w.T.Helper()
	kind, _ := clerk.KindOfID(id)
	plan, err := w.restorer().Prepare(context.Background(), kind, id)
	w.Check(err)
	return plan
}

// restore returns the memberships that were to come back.
func (w *world) restore(id string) []string {
	w.T.Helper()
	plan := w.prepare(id)
	w.Check(w.restorer().Restore(context.Background(), plan))
	list := []string{}
	for _, m := range plan.Memberships {
		list = append(list, m.Change.ID)
	}
	return list
}

func (w *world) memberships() []string {
	w.T.Helper()
	return w.Rows("SELECT clerk_id FROM org_memberships ORDER BY clerk_id")
}

// TestRestoredUserHasTheMembershipsOfThatTime, however their end was told: not at all,
// before or after the delete of the user, whole or by the bare id. A member who had left
// long before does not come back.
func TestRestoredUserHasTheMembershipsOfThatTime(t *testing.T) {
	t.Parallel()
	const deleted = 100 * testkit.Second
	for name, ends := range map[string][]*clerk.Event{
		"not told":          {testkit.UserDeletedAt(deleted, "user_1")},
		"before":            {testkit.LeftAt(deleted-2*testkit.Second, "orgmem_1_1", 2), testkit.LeftAt(deleted-9*testkit.Second, "orgmem_1_2", 2), testkit.UserDeletedAt(deleted, "user_1")},
		"after":             {testkit.UserDeletedAt(deleted, "user_1"), testkit.LeftAt(deleted+2*testkit.Second, "orgmem_1_1", 2), testkit.LeftAt(deleted+60*testkit.Second, "orgmem_1_2", 2)},
		"bare, before":      {testkit.LeftBareAt(deleted-2*testkit.Second, "orgmem_1_1"), testkit.UserDeletedAt(deleted, "user_1")},
		"bare, after":       {testkit.UserDeletedAt(deleted, "user_1"), testkit.LeftBareAt(deleted+2*testkit.Second, "orgmem_1_2")},
		"deleted twice":     {testkit.UserDeletedAt(deleted, "user_1"), testkit.LeftAt(deleted, "orgmem_1_1", 2), testkit.UserDeletedAt(deleted+60*testkit.Second, "user_1")},
		"one of them":       {testkit.LeftAt(deleted-testkit.Second, "orgmem_1_1", 2), testkit.UserDeletedAt(deleted, "user_1")},
		"in another order":  {testkit.LeftAt(deleted, "orgmem_1_2", 2), testkit.LeftAt(deleted-testkit.Second, "orgmem_1_1", 2), testkit.UserDeletedAt(deleted-testkit.Second, "user_1")},
		"and a late update": {testkit.UserDeletedAt(deleted, "user_1"), testkit.JoinedAt(2, "orgmem_1_1")},
	} {
		w := newWorld(t)
		w.Emit(testkit.UserAt(1, "user_1"), testkit.UserAt(1, "user_2"), testkit.OrgAt(1, "org_1"), testkit.OrgAt(1, "org_2"), testkit.OrgAt(1, "org_3"), testkit.OrgAt(1, "org_4"))
		w.Emit(testkit.JoinedAt(2, "orgmem_1_1"), testkit.JoinedAt(2, "orgmem_1_2"), testkit.JoinedAt(2, "orgmem_1_3"), testkit.JoinedAt(2, "orgmem_1_4"), testkit.JoinedAt(2, "orgmem_2_1"))
		w.Emit(testkit.LeftAt(deleted-12*testkit.Second, "orgmem_1_3", 2), testkit.LeftBareAt(deleted-12*testkit.Second, "orgmem_1_4"))
		want := w.Rows("SELECT to_jsonb(u)::text FROM users u ORDER BY clerk_id")
		w.Emit(ends...)
		require.Equal(t, []string{"orgmem_2_1"}, w.memberships(), name)
		require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2"}, w.restore("user_1"), name)
		require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2", "orgmem_2_1"}, w.memberships(), name)
		require.Equal(t, want, w.Rows("SELECT to_jsonb(u)::text FROM users u ORDER BY clerk_id"), name)

		// Deleted once more, it can be restored once more: the first delete is no reason
		// to leave anybody out.
		later := deleted + 1000*24*3600*testkit.Second // after now, when it was restored
		w.Emit(testkit.UserDeletedAt(later, "user_1"))
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
		w.Emit(testkit.UserAt(1, "user_1"), testkit.OrgAt(1, "org_1"), testkit.OrgAt(1, "org_2"), testkit.JoinedAt(2, "orgmem_1_1"), testkit.JoinedAt(2, "orgmem_1_2"))
		w.Emit(testkit.OrgDeletedAt(10*testkit.Second, "org_1"))
		if told {
			w.Emit(testkit.LeftAt(11*testkit.Second, "orgmem_1_1", 2))
		}
		w.Emit(testkit.UserDeletedAt(60*testkit.Second, "user_1"))
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
	w.Emit(testkit.OrgAt(1, "org_1"), testkit.UserAt(1, "user_1"), testkit.UserAt(1, "user_2"), testkit.UserAt(1, "user_3"))
	w.Emit(testkit.JoinedAt(2, "orgmem_1_1"), testkit.JoinedAt(2, "orgmem_2_1"), testkit.JoinedAt(2, "orgmem_3_1"), testkit.OrgAt(3, "org_1"))
	want := w.Rows("SELECT to_jsonb(o)::text FROM organizations o")
	w.Emit(testkit.LeftAt(4, "orgmem_3_1", 2), testkit.OrgDeletedAt(60*testkit.Second, "org_1"), testkit.LeftAt(61*testkit.Second, "orgmem_2_1", 2))
	require.Empty(t, w.memberships())
	plan := w.prepare("org_1")
	require.Equal(t, clerk.KindOrganization, plan.Kind)
	require.Equal(t, testkit.Base+60*testkit.Second, plan.DeletedAt.UnixMilli())
	require.EqualValues(t, 8, plan.Entity.Seq)
	require.Equal(t, []string{"orgmem_1_1", "orgmem_2_1"}, w.restore("org_1"))
	require.Equal(t, []string{"orgmem_1_1", "orgmem_2_1"}, w.memberships())
	require.Equal(t, want, w.Rows("SELECT to_jsonb(o)::text FROM organizations o"))
}

// TestMembershipIsRestored alone, unless another membership has its seat by now.
func TestMembershipIsRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.JoinedAt(2, "orgmem_1_1"), testkit.LeftAt(60*testkit.Second, "orgmem_1_1", 2), testkit.JoinedAt(2, "orgmem_1_2"), testkit.LeftBareAt(60*testkit.Second, "orgmem_1_2"))
	require.Empty(t, w.memberships())
	require.Empty(t, w.restore("orgmem_1_1"))
	require.Empty(t, w.restore("orgmem_1_2"))
	require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2"}, w.memberships())

	again := testkit.Event("msg_again", "organizationMembership.created", testkit.Base+70*testkit.Second,
		testkit.MembershipData("orgmem_again", "user_1", "org_3", "org:admin", testkit.Base+70*testkit.Second, testkit.Base+70*testkit.Second))
	w.Emit(testkit.JoinedAt(2, "orgmem_1_3"), testkit.LeftAt(60*testkit.Second, "orgmem_1_3", 2), again)
	w.restore("orgmem_1_3")
	require.Equal(t, []string{"orgmem_1_1", "orgmem_1_2", "orgmem_again"}, w.memberships())
}

// TestRejoinedMemberComesBackOnce: of two memberships of the same two, the later one.
func TestRejoinedMemberComesBackOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	again := testkit.Event("msg_again", "organizationMembership.created", testkit.Base+70*testkit.Second,
		testkit.MembershipData("orgmem_again", "user_1", "org_1", "org:admin", testkit.Base+70*testkit.Second, testkit.Base+70*testkit.Second))
	w.Emit(testkit.UserAt(1, "user_1"), testkit.JoinedAt(2, "orgmem_1_1"), again, testkit.UserDeletedAt(71*testkit.Second, "user_1")) // the end of the first was lost
	w.restore("user_1")
	require.Equal(t, []string{"orgmem_again"}, w.memberships())
}

// TestWhatCameBetweenPrepareAndRestoreIsApplied: it was stale against the replay.
func TestWhatCameBetweenPrepareAndRestoreIsApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"), testkit.UserDeletedAt(10, "user_1"))
	plan := w.prepare("user_1")
	w.Emit(testkit.UserAt(20, "user_1"), testkit.JoinedAt(21, "orgmem_1_1"), testkit.UserAt(1, "user_2"))
	require.NoError(t, w.restorer().Restore(t.Context(), plan))
	require.Equal(t, []string{"orgmem_1_1"}, w.memberships())
	require.Equal(t, "msg_user_1_20", w.Head("user_1").EventID)
}

// TestRestoredTwiceAtOnce: the slower one is told.
func TestRestoredTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_1"), testkit.UserDeletedAt(10, "user_1"))
	plan := w.prepare("user_1")
	w.restore("user_1")
	require.ErrorIs(t, w.restorer().Restore(t.Context(), plan), store.ErrNotDeleted)
}

// TestUnfinishedRestoreSaysSo: it is restored, and where to go on.
func TestUnfinishedRestoreSaysSo(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	w := &world{&testkit.World{T: t, Log: testkit.OpenLog(t, nc), Store: testkit.Store(t)}, t}
	w.Emit(testkit.UserAt(1, "user_1"), testkit.UserDeletedAt(10, "user_1"))
	plan := w.prepare("user_1")
	nc.Close()
	err := w.restorer().Restore(t.Context(), plan)
	require.ErrorIs(t, err, replay.ErrUnfinished)
	require.ErrorContains(t, err, "it is restored, but events stored since are not all applied, from sequence 3 on: ")
	require.False(t, w.Head("user_1").Deleted)
}

// TestLiftedDeleteDoesNothing when it is delivered or replayed again; a new one
// deletes.
func TestLiftedDeleteDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, left := testkit.UserDeletedAt(10, "user_1"), testkit.LeftAt(11, "orgmem_1_1", 2)
	w.Emit(testkit.UserAt(1, "user_1"), testkit.JoinedAt(2, "orgmem_1_1"), old, left)
	w.restore("user_1")
	tables := testkit.Tables(t, w.Store)
	for _, e := range []*clerk.Event{old, left, testkit.UserDeletedAt(12, "user_1")} {
		require.Equal(t, store.Stale, w.Apply(e, 99))
		require.Equal(t, tables, testkit.Tables(t, w.Store))
	}
	require.Equal(t, store.Applied, w.Apply(testkit.UserDeletedAt(1000*24*3600*testkit.Second, "user_1"), 99))
	require.True(t, w.Head("user_1").Deleted)
	require.Empty(t, w.memberships())
}

// TestWhatCannotBeRestored, and why.
func TestWhatCannotBeRestored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Emit(testkit.UserAt(1, "user_live"), testkit.OrgAt(1, "org_live"), testkit.JoinedAt(2, "orgmem_1_1"))
	w.Emit(testkit.UserDeletedAt(3, "user_bare"), testkit.LeftBareAt(3, "orgmem_bare"))
	w.Emit(testkit.UserAt(1, "user_erased"), testkit.UserDeletedAt(3, "user_erased"))
	w.erase("user_erased")
	w.Emit(testkit.UserAt(1, "user_purged"), testkit.UserDeletedAt(3, "user_purged"))
	for _, m := range w.Events() { // too old for the log
		if m.Event.Envelope.UserID == "user_purged" && m.Event.Envelope.Type == "user.updated" {
			require.NoError(t, w.Log.Erase(t.Context(), m.Seq))
		}
	}
	broken := testkit.UserAt(1, "user_broken")
	broken.Body = append(broken.Body, '}')
	w.Append(broken)
	w.Emit(testkit.UserDeletedAt(3, "user_broken"))
	for id, want := range map[string]error{
		"user_live": store.ErrNotDeleted, "org_live": store.ErrNotDeleted, "orgmem_1_1": store.ErrNotDeleted, "user_1": store.ErrNotDeleted,
		"user_bare": replay.ErrNothingLeft, "orgmem_bare": replay.ErrNothingLeft, "user_erased": replay.ErrNothingLeft,
		"user_purged": replay.ErrNothingLeft, "user_broken": replay.ErrNothingLeft,
		"user_nobody": store.ErrUnknown, "org_nobody": store.ErrUnknown, "orgmem_nobody": store.ErrUnknown,
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
		w := &world{&testkit.World{T: r, Log: w.Log, Store: w.Store}, t}
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
		testkit.Truncate(r, w.Store)
		for _, e := range history {
			if !lifted(e) {
				w.Apply(e, 1)
			}
		}
		want := testkit.Tables(r, w.Store)

		testkit.Truncate(r, w.Store)
		w.Empty()
		w.Emit(rapid.Permutation(history).Draw(r, "arrival")...)
		w.restore(id)
		if diff := cmp.Diff(want, testkit.Tables(r, w.Store)); diff != "" {
			r.Fatal(diff)
		}
		for _, e := range slices.DeleteFunc(slices.Clone(history), func(e *clerk.Event) bool { return !lifted(e) }) {
			w.Apply(e, 1) // delivered again
		}
		if diff := cmp.Diff(want, testkit.Tables(r, w.Store)); diff != "" {
			r.Fatal(diff)
		}
	})
}
