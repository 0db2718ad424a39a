package store_test

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
	"github.com/clerksync/clerksync/internal/store/db"
	"github.com/clerksync/clerksync/internal/testkit"
)

func headOf(t require.TestingT, s *store.Store, kind clerk.Kind, id string) *db.EntityHead {
	head, err := s.Head(context.Background(), kind, id)
	require.NoError(t, err)
	return head
}

func userHead(t require.TestingT, s *store.Store, id string) *db.EntityHead {
	return headOf(t, s, clerk.KindUser, id)
}

// TestTombstoneIsThatOfADelete: whether the user was live, a stub, or not known; and
// a tombstone that is there stays.
func TestTombstoneIsThatOfADelete(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	for name, before := range map[string][]*clerk.Event{
		"live": {userAt(1, "user_1", addressA), orgAt(1, "org_1"), joinedAt(1, "orgmem_1")},
		"stub": {orgAt(1, "org_1"), joinedAt(1, "orgmem_1")}, "not known": {orgAt(1, "org_1")},
	} {
		empty(t, s)
		batch(t, s, append(before, testkit.Event("erase", "user.deleted", base+5, testkit.DeletedData("user", "user_1")))...)
		want := testkit.Tables(t, s)
		empty(t, s)
		batch(t, s, before...)
		require.NoError(t, s.TombstoneUser(t.Context(), "user_1", time.UnixMilli(base+5)))
		require.Equal(t, want, testkit.Tables(t, s), name)
		require.Zero(t, userHead(t, s, "user_1").EventSeq)

		require.NoError(t, s.BeginErase(t.Context(), "user_1"))
		want = testkit.Tables(t, s)
		require.NoError(t, s.TombstoneUser(t.Context(), "user_1", time.UnixMilli(base+9)))
		require.Equal(t, want, testkit.Tables(t, s), name)
	}
}

// TestOnlyDeletedUsersAreErased.
func TestOnlyDeletedUsersAreErased(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", ""), orgDeletedAt(1, "org_1"))
	for _, id := range []string{"user_1", "user_2", "org_1"} {
		require.ErrorIs(t, s.BeginErase(t.Context(), id), store.ErrNotDeleted)
		finished, err := s.FinishErase(t.Context(), id)
		require.NoError(t, err)
		require.False(t, finished, "it never began")
	}
}

// erase erases a user, as far as the store is concerned.
func erase(t require.TestingT, s *store.Store, id string) {
	require.NoError(t, s.BeginErase(context.Background(), id))
	finished, err := s.FinishErase(context.Background(), id)
	require.NoError(t, err)
	require.True(t, finished)
	h := userHead(t, s, id)
	require.False(t, h.Erasing)
	require.NotNil(t, h.ErasedAt)
}

// TestEventThatNamesThePersonUndoesTheErasure: begun or finished; it is otherwise as
// stale, duplicate or applied as it would have been.
func TestEventThatNamesThePersonUndoesTheErasure(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	deleted := userDeletedAt(5, "user_1")
	for name, tt := range map[string]struct {
		event *clerk.Event
		want  store.Outcome
		seq   int64 // of the event that made the tombstone, afterwards
		undo  bool
	}{
		"late update":       {userAt(9, "user_1", addressA), store.Stale, 1, true},
		"repeated delete":   {deleted, store.Duplicate, 1, true},
		"older delete":      {userDeletedAt(4, "user_1"), store.Stale, 1, true},
		"newer delete":      {userDeletedAt(6, "user_1"), store.Applied, 2, true},
		"membership":        {joinedAt(1, "orgmem_2"), store.Applied, 1, true},
		"end of membership": {leftAt(6, "orgmem_2", 1), store.Applied, 1, true},
		"another user":      {userAt(9, "user_2", addressA), store.Applied, 1, false},
		"bare id":           {leftBareAt(6, "orgmem_2"), store.Applied, 1, false}, // names no user
	} {
		for _, finished := range []bool{false, true} {
			empty(t, s)
			batch(t, s, deleted)
			require.NoError(t, s.BeginErase(t.Context(), "user_1"))
			if finished {
				erase(t, s, "user_1")
			}
			before := userHead(t, s, "user_1")
			require.Equal(t, []store.Outcome{tt.want}, apply(t, s, []store.Entry{{Change: testkit.Change(tt.event), Seq: 2}}), name)
			h := userHead(t, s, "user_1")
			require.Equal(t, tt.seq, h.EventSeq, name)
			require.Equal(t, tt.seq == 1, h.AppliedAt.Equal(before.AppliedAt), name)
			if !tt.undo {
				require.Equal(t, before, h, name)
				continue
			}
			require.False(t, h.Erasing, name)
			require.Nil(t, h.ErasedAt, name)
			again, err := s.FinishErase(t.Context(), "user_1")
			require.NoError(t, err)
			require.False(t, again, "%s: an event came in between", name)
			require.Empty(t, emailsOf(t, s)["user_1"])
			require.Empty(t, members(t, s))
		}
	}
}

// TestErasureChangesNoRowAndNoOutcome: whenever it happens, every event does
// what it does without it.
func TestErasureChangesNoRowAndNoOutcome(t *testing.T) {
	t.Parallel()
	s, plain := testkit.Store(t), testkit.Store(t)
	rapid.Check(t, func(r *rapid.T) {
		entries := entriesOf(rapid.OneOf(testkit.Histories(), anything()).Draw(r, "events"))
		empty(t, s)
		empty(t, plain)
		if len(entries) > 0 {
			entries = rapid.Permutation(append(entries, entries[:len(entries)/2]...)).Draw(r, "arrivals")
		}
		for len(entries) > 0 {
			n := rapid.IntRange(1, len(entries)).Draw(r, "batch")
			require.Equal(r, apply(r, plain, entries[:n]), apply(r, s, entries[:n]))
			entries = entries[n:]
			due, err := s.UsersToErase(context.Background(), time.Now().Add(time.Hour), 100)
			require.NoError(r, err)
			for _, id := range due {
				require.NoError(r, s.BeginErase(context.Background(), id))
				if rapid.Bool().Draw(r, "finish") {
					erase(r, s, id)
				}
			}
		}
		_, err := s.Pool().Exec(context.Background(), "UPDATE entity_heads SET erasing = false")
		require.NoError(r, err)
		if diff := cmp.Diff(testkit.Tables(r, plain), testkit.Tables(r, s)); diff != "" {
			r.Fatalf("(-without +with erasures):\n%s", diff)
		}
	})
}

// TestUsersToErase: the oldest delete first, none twice, and only users that were
// deleted before, by the time that it was applied.
func TestUsersToErase(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userDeletedAt(5, "user_c"), userDeletedAt(3, "user_d"), userDeletedAt(4, "user_a"), userDeletedAt(4, "user_b"),
		userAt(1, "user_e", ""), orgDeletedAt(1, "org_1"), leftAt(1, "orgmem_1", 0))
	_, err := s.Pool().Exec(t.Context(), "UPDATE entity_heads SET applied_at = event_at, event_at = date_trunc('milliseconds', now())")
	require.NoError(t, err)
	due := func(before int64, limit int) []string {
		ids, err := s.UsersToErase(t.Context(), time.UnixMilli(base+before), limit)
		require.NoError(t, err)
		return ids
	}
	require.Equal(t, []string{"user_d", "user_a", "user_b", "user_c"}, due(6, 10))
	require.Equal(t, []string{"user_d", "user_a"}, due(6, 2))
	require.Equal(t, []string{"user_d", "user_a", "user_b"}, due(5, 10))
	erase(t, s, "user_a")
	require.NoError(t, s.BeginErase(t.Context(), "user_d"))
	require.Equal(t, []string{"user_d", "user_b", "user_c"}, due(6, 10), "one that has begun may have been given up")
	batch(t, s, joinedAt(9, "orgmem_2"), userAt(9, "user_a", ""))
	require.Equal(t, []string{"user_d", "user_a", "user_b", "user_c"}, due(6, 10))
}

// TestSweepReadsOnlyWhatIsToBeErased: not all users, and not those erased.
func TestSweepReadsOnlyWhatIsToBeErased(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	s, err := store.Open(t.Context(), store.Options{URL: url, Schema: "clerk", MaxConns: 1})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	sweep := func(want int) {
		ids, err := s.UsersToErase(t.Context(), time.Now().Add(time.Hour), 100)
		require.NoError(t, err)
		require.Len(t, ids, want)
	}
	for range 8 { // after five times PostgreSQL keeps a plan
		sweep(0)
	}
	fill(t, url, 5000)
	_, err = s.Pool().Exec(t.Context(), "UPDATE entity_heads SET deleted = true, erased_at = now() WHERE kind = 'user'")
	require.NoError(t, err)
	for i := range 20 {
		batch(t, s, userDeletedAt(1, fmt.Sprint("user_gone_", i)))
	}
	before := readings(t, s)
	sweep(20)
	delta := readings(t, s).minus(before)
	require.Zero(t, delta.seqRows)
	require.LessOrEqual(t, delta.indexRows, int64(20))
}

// TestUpdateOfAHeadTouchesNoIndex: none of the indexes has a column in it that the
// next version of an entity changes.
func TestUpdateOfAHeadTouchesNoIndex(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	s, err := store.Open(t.Context(), store.Options{URL: url, Schema: "clerk", MaxConns: 1})
	require.NoError(t, err)
	t.Cleanup(s.Close)
	for at := range int64(10) {
		batch(t, s, userAt(at, "user_1", ""))
	}
	readings(t, s) // has the counts written
	var updates, withoutIndex int
	require.NoError(t, s.Pool().QueryRow(t.Context(),
		"SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'entity_heads'").Scan(&updates, &withoutIndex))
	require.Equal(t, 9, updates)
	require.Equal(t, 9, withoutIndex)
}
