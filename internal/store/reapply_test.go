package store_test

import (
	"context"
	"testing"

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
