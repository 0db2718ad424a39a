package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestReapplyWritesRowsOnceMore: what is there already is a duplicate to Apply, and
// is written again by Reapply; what is older stays stale.
func TestReapplyWritesRowsOnceMore(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	history := []*clerk.Event{
		userAt(1, "user_1", addressA), userAt(2, "user_1", addressB), orgAt(1, "org_1"), joinedAt(3, "orgmem_1"), userDeletedAt(4, "user_2"),
	}
	entries := entriesOf(history)
	batch(t, s, history...)
	want := testkit.Tables(t, s)
	_, err := s.Pool().Exec(t.Context(), `UPDATE users SET name = 'other', email = NULL, deleted_at = NULL;
		UPDATE organizations SET slug = 'other'; DELETE FROM org_memberships`)
	require.NoError(t, err)
	broken := testkit.Tables(t, s)

	const applied, stale, duplicate = store.Applied, store.Stale, store.Duplicate
	require.Equal(t, []store.Outcome{stale, duplicate, duplicate, duplicate, duplicate}, apply(t, s, entries))
	require.Equal(t, broken, testkit.Tables(t, s))
	outcomes, err := s.Reapply(t.Context(), append(entries, entry(history[1])))
	require.NoError(t, err)
	require.Equal(t, []store.Outcome{stale, applied, applied, applied, applied, duplicate}, outcomes)
	require.Equal(t, want, testkit.Tables(t, s))
}

// TestReapplyOfAnyPartAtAnyTimeChangesNothing: batches that are reapplied may stand
// anywhere among those that are applied.
func TestReapplyOfAnyPartAtAnyTimeChangesNothing(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	rapid.Check(t, func(r *rapid.T) {
		entries := entriesOf(rapid.OneOf(testkit.Histories(), anything()).Draw(r, "events"))
		if len(entries) == 0 {
			return
		}
		empty(t, s)
		apply(r, s, entries)
		want := testkit.Tables(r, s)

		empty(t, s)
		arrivals := rapid.Permutation(append(entries, entries...)).Draw(r, "arrivals")
		for len(arrivals) > 0 {
			n := rapid.IntRange(1, len(arrivals)).Draw(r, "batch")
			do := s.Apply
			if rapid.Bool().Draw(r, "reapply") {
				do = s.Reapply
			}
			_, err := do(context.Background(), arrivals[:n])
			require.NoError(r, err)
			arrivals = arrivals[n:]
		}
		if diff := cmp.Diff(want, testkit.Tables(r, s)); diff != "" {
			r.Fatalf("(-applied +some of it reapplied):\n%s", diff)
		}
	})
}

// TestReapplyKeepsWhenEventsWereApplied: the lag is measured from it, and the time until a
// person is erased. Only a newer version sets it.
func TestReapplyKeepsWhenEventsWereApplied(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	history := []*clerk.Event{userAt(1, "user_1", addressA), orgAt(1, "org_1"), joinedAt(3, "orgmem_1"), userDeletedAt(4, "user_2")}
	entries := entriesOf(history)
	batch(t, s, history...)
	edit(t, s, "UPDATE entity_heads SET applied_at = applied_at - interval '1 hour'")
	refs := []store.Ref{
		{Kind: clerk.KindUser, ID: "user_1", Seq: 1},
		{Kind: clerk.KindOrganization, ID: "org_1", Seq: 2},
		{Kind: clerk.KindMembership, ID: "orgmem_1", Seq: 3},
		{Kind: clerk.KindUser, ID: "user_2", Seq: 4},
	}
	before, err := s.AppliedAt(t.Context(), refs)
	require.NoError(t, err)
	require.Len(t, before, len(refs))
	heads := wholeTables(t, s)

	outcomes, err := s.Reapply(t.Context(), entries)
	require.NoError(t, err)
	require.Equal(t, []store.Outcome{store.Applied, store.Applied, store.Applied, store.Applied}, outcomes)
	after, err := s.AppliedAt(t.Context(), refs)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, heads, wholeTables(t, s), "those of stubs and seats too")
	due, err := s.UsersToErase(t.Context(), time.Now().Add(-30*time.Minute), 10)
	require.NoError(t, err)
	require.Equal(t, []string{"user_2"}, due, "the time to restore a deletion is not prolonged")

	_, err = s.Reapply(t.Context(), []store.Entry{{Change: testkit.Change(userAt(5, "user_1", addressA)), Seq: 5}})
	require.NoError(t, err)
	newer, err := s.AppliedAt(t.Context(), []store.Ref{{Kind: clerk.KindUser, ID: "user_1", Seq: 5}})
	require.NoError(t, err)
	require.Greater(t, newer[5], before[1].Add(30*time.Minute))
}
