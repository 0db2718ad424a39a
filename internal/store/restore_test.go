package store_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// deletion is a delete in a history, with what went with it.
type deletion struct {
	kind    clerk.Kind
	id      string
	lifted  []store.Entry // the delete, and those of the memberships that went with it
	restore []store.Entry // what brings all of it back
}

// deletionAt reads the delete at a position of a history.
func deletionAt(history []store.Entry, at int) deletion {
	d := deletion{kind: history[at].Change.Kind, id: history[at].Change.ID, lifted: history[at : at+1 : at+1]}
	newest := map[string]store.Entry{}      // of the entity and its memberships, what is no delete
	ended := map[string]bool{}              // memberships that ended before
	ofEntity := map[string]bool{d.id: true} // the entity and its memberships
	for i, e := range history {
		c := e.Change
		if m := c.Membership; m != nil && (d.kind == clerk.KindUser && m.UserID == d.id || d.kind == clerk.KindOrganization && m.OrgID == d.id) {
			ofEntity[c.ID] = true
		}
		switch {
		case !ofEntity[c.ID]:
		case !c.Version.Deleted:
			if best, ok := newest[c.ID]; !ok || c.Version.Compare(best.Change.Version) > 0 {
				newest[c.ID] = e
			}
		case i < at:
			ended[c.ID] = true
		case i > at:
			d.lifted = append(d.lifted, e)
		}
	}
	for _, e := range history {
		if !ended[e.Change.ID] && newest[e.Change.ID] == e {
			d.restore = append(d.restore, e)
		}
	}
	return d
}

// TestRestoredIsAsIfNeverDeleted: user, organization or membership; afterwards the
// deletes that were lifted may be applied again, alone or among all the rest.
func TestRestoredIsAsIfNeverDeleted(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	rapid.Check(t, func(r *rapid.T) {
		history := entriesOf(testkit.Histories().Draw(r, "history"))
		var deletes []int
		for i, e := range history {
			if e.Change.Version.Deleted {
				deletes = append(deletes, i)
			}
		}
		if len(deletes) == 0 {
			return
		}
		d := deletionAt(history, rapid.SampledFrom(deletes).Draw(r, "delete"))
		without := slices.DeleteFunc(slices.Clone(history), func(e store.Entry) bool { return slices.Contains(d.lifted, e) })
		empty(t, s)
		applyInBatches(r, s, without)
		want := testkit.Tables(r, s)

		empty(t, s)
		// Events of other entities may arrive after it was restored.
		now := slices.Clone(d.lifted)
		var later []store.Entry
		for _, e := range without {
			if rapid.Bool().Draw(r, "later") {
				later = append(later, e)
			} else {
				now = append(now, e)
			}
		}
		applyInBatches(r, s, rapid.Permutation(now).Draw(r, "arrivals"))
		restore := rapid.Permutation(d.restore).Draw(r, "entries")
		for i, newest := range restore { // which may have come late, too
			earlier := slices.DeleteFunc(slices.Clone(history), func(e store.Entry) bool {
				return e.Change.ID != newest.Change.ID || e.Change.Version.Deleted
			})
			restore[i] = rapid.SampledFrom(earlier).Draw(r, "held by the log")
			later = append(later, newest)
		}
		outcomes, err := s.Restore(context.Background(), d.kind, d.id, restore)
		require.NoError(r, err)
		for _, o := range outcomes {
			require.Equal(r, store.Applied, o)
		}
		if rapid.Bool().Draw(r, "with the old deletes") {
			later = append(later, d.lifted...)
		}
		applyInBatches(r, s, rapid.Permutation(later).Draw(r, "late arrivals"))
		requireTables(r, want, s, "restored")

		for _, e := range d.lifted {
			require.Equal(r, []store.Outcome{store.Stale}, apply(r, s, []store.Entry{e}))
		}
		applyInBatches(r, s, rapid.Permutation(history).Draw(r, "again"))
		requireTables(r, want, s, "and all events once more")
	})
}

func applyInBatches(t *rapid.T, s *store.Store, entries []store.Entry) {
	for len(entries) > 0 {
		n := rapid.IntRange(1, len(entries)).Draw(t, "batch")
		apply(t, s, entries[:n])
		entries = entries[n:]
	}
}

func requireTables(t *rapid.T, want []string, s *store.Store, what string) {
	if diff := cmp.Diff(want, testkit.Tables(t, s)); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// restoreUser deletes user_1, who is a member, and restores it.
func restoreUser(t *testing.T, s *store.Store) (before []string) {
	t.Helper()
	user, joined := userAt(1, "user_1", addressA), joinedAt(1, "orgmem_1")
	batch(t, s, user, orgAt(1, "org_1"), joined)
	before = testkit.Tables(t, s)
	batch(t, s, userDeletedAt(5, "user_1"))
	batch(t, s, leftAt(6, "orgmem_1", 1))
	erase(t, s, "user_1")
	outcomes, err := s.Restore(t.Context(), clerk.KindUser, "user_1", []store.Entry{entry(user), entry(joined)})
	require.NoError(t, err)
	require.Equal(t, []store.Outcome{store.Applied, store.Applied}, outcomes)
	require.Equal(t, before, testkit.Tables(t, s))
	h := userHead(t, s, "user_1")
	require.Nil(t, h.ErasedAt)
	require.WithinDuration(t, time.Now(), *h.RestoredAt, time.Minute)
	return before
}

// TestOldDeleteInABatchDoesNotHideWhatIsNewer: a delete outranks all else in a
// batch; when it does not count any more, the next best has its chance.
func TestOldDeleteInABatchDoesNotHideWhatIsNewer(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	before := restoreUser(t, s)
	const applied, stale, duplicate = store.Applied, store.Stale, store.Duplicate
	old := userDeletedAt(5, "user_1")
	require.Equal(t, []store.Outcome{stale, duplicate, stale}, batch(t, s, old, userAt(1, "user_1", addressA), userAt(0, "user_1", addressA)))
	require.Equal(t, []store.Outcome{stale, stale}, batch(t, s, leftAt(6, "orgmem_1", 1), leftAt(6, "orgmem_1", 1)))
	require.Equal(t, before, testkit.Tables(t, s))

	require.Equal(t, []store.Outcome{stale, stale, applied, duplicate, applied},
		batch(t, s, userAt(7, "user_1", ""), old, userAt(8, "user_1", addressB), userAt(8, "user_1", addressB), orgAt(2, "org_1")))
	require.Equal(t, map[string]string{"user_1": addressB}, emailsOf(t, s))

	outcomes, err := s.Reapply(t.Context(), entriesOf([]*clerk.Event{old, userAt(8, "user_1", addressB)}))
	require.NoError(t, err)
	require.Equal(t, []store.Outcome{stale, applied}, outcomes)
	require.NotNil(t, userHead(t, s, "user_1").RestoredAt, "kept")
}

// TestNewDeleteAfterARestore deletes again, though an old one with a greater version
// comes along.
func TestNewDeleteAfterARestore(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	restoreUser(t, s)
	soon := time.Now().Add(time.Hour).UnixMilli() - base
	bare := leftBareAt(soon, "orgmem_1") // without updated_at: less than the old one
	require.Equal(t, []store.Outcome{store.Stale, store.Applied}, batch(t, s, leftAt(6, "orgmem_1", 1), bare))
	require.Empty(t, members(t, s))
	require.Equal(t, []store.Outcome{store.Duplicate, store.Stale}, batch(t, s, bare, leftAt(6, "orgmem_1", 1)))

	require.Equal(t, []store.Outcome{store.Stale, store.Applied, store.Stale},
		batch(t, s, userDeletedAt(5, "user_1"), userDeletedAt(soon, "user_1"), userAt(9, "user_1", "")))
	require.True(t, userHead(t, s, "user_1").Deleted)
	require.NotNil(t, userHead(t, s, "user_1").RestoredAt)
	require.Equal(t, []store.Outcome{store.Stale}, batch(t, s, userDeletedAt(5, "user_1")))

	// And restored once more.
	_, err := s.Restore(t.Context(), clerk.KindUser, "user_1", []store.Entry{entry(userAt(9, "user_1", addressA))})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"user_1": addressA}, emailsOf(t, s))
	require.Equal(t, []store.Outcome{store.Stale}, batch(t, s, userDeletedAt(soon, "user_1")), "though the clock here is slow")
}

// TestRestoreRefuses what is not deleted, what is not known, and to make an entity
// of nothing; nothing is changed then.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", addressA), userDeletedAt(2, "user_2"))
	before := testkit.Tables(t, s)
	for _, id := range []string{"user_1", "user_3"} {
		_, err := s.Restore(t.Context(), clerk.KindUser, id, []store.Entry{entry(userAt(1, id, addressA))})
		require.ErrorIs(t, err, store.ErrNotDeleted)
		require.EqualError(t, err, "restore "+id+": not deleted")
	}
	_, err := s.Restore(t.Context(), clerk.KindUser, "user_2", []store.Entry{entry(userDeletedAt(2, "user_2")), entry(joinedAt(1, "orgmem_1"))})
	require.EqualError(t, err, "restore user_2: no event to restore it from")
	require.Equal(t, before, testkit.Tables(t, s))
}

// TestRestoreOfAUserWhoseMembershipCannotComeBack: the organization is deleted, or
// another membership has taken the seat.
func TestRestoreOfAUserWhoseMembershipCannotComeBack(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]*clerk.Event{"organization": orgDeletedAt(7, "org_1"), "seat": leftAt(9, "orgmem_2", 8)} {
		s := testkit.Store(t)
		user, joined := userAt(1, "user_1", addressA), joinedAt(1, "orgmem_1")
		batch(t, s, user, joined, userDeletedAt(5, "user_1"), between)
		outcomes, err := s.Restore(t.Context(), clerk.KindUser, "user_1", []store.Entry{entry(user), entry(joined)})
		require.NoError(t, err)
		require.Equal(t, []store.Outcome{store.Applied, store.Applied}, outcomes)
		require.Equal(t, map[string]string{"user_1": addressA}, emailsOf(t, s), name)
		require.Empty(t, members(t, s), name)
	}
}

// TestRestoreMakesStubs: of an organization that no event applied so far has named.
func TestRestoreMakesStubs(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userDeletedAt(5, "user_1"))
	_, err := s.Restore(t.Context(), clerk.KindUser, "user_1", []store.Entry{entry(userAt(1, "user_1", addressA)), entry(joinedAt(1, "orgmem_1"))})
	require.NoError(t, err)
	require.Equal(t, stubOrganization("org_1"), organizations(t, s)["org_1"])
	require.Equal(t, []string{"orgmem_1"}, members(t, s))
}

// TestRestoreAmongWorkers: no batch fails because of it, and all rows are there in
// the end.
func TestRestoreAmongWorkers(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	restore := []store.Entry{entry(userAt(1, "user_1", addressA)), entry(joinedAt(1, "orgmem_1"))}
	for i := range int64(30) {
		empty(t, s)
		batch(t, s, userAt(1, "user_1", addressA), joinedAt(1, "orgmem_1"), userDeletedAt(5, "user_1"))
		restored := make(chan error, 1)
		go func() {
			_, err := s.Restore(context.Background(), clerk.KindUser, "user_1", restore)
			restored <- err
		}()
		together(t, s,
			entriesOf([]*clerk.Event{orgAt(i, "org_1"), userAt(0, "user_1", ""), userDeletedAt(5, "user_1")}),
			entriesOf([]*clerk.Event{joinedAt(1, "orgmem_1"), userAt(0, "user_2", addressA), orgAt(i+1, "org_1")}))
		require.NoError(t, <-restored)
		require.Equal(t, map[string]string{"user_1": addressA}, emailsOf(t, s))
		require.Equal(t, []string{"orgmem_1"}, members(t, s))
	}
}
