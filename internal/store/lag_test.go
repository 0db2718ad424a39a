package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestAppliedAt knows the events that made the rows what they are, and no others.
func TestAppliedAt(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	began := time.Now()
	apply(t, s, entriesOf([]*clerk.Event{userAt(1, "user_1", addressA)})) // 1
	seqs := map[string]uint64{}
	rows, err := s.Pool().Query(t.Context(), "SELECT clerk_id, event_seq FROM entity_heads")
	require.NoError(t, err)
	for rows.Next() {
		var id string
		var seq uint64
		require.NoError(t, rows.Scan(&id, &seq))
		seqs[id] = seq
	}
	require.NoError(t, rows.Err())
	applied, err := s.AppliedAt(t.Context(), []store.Ref{
		{Kind: clerk.KindUser, ID: "user_1", Seq: seqs["user_1"]},
		{Kind: clerk.KindUser, ID: "user_1", Seq: seqs["user_1"] + 1},         // another event about it
		{Kind: clerk.KindOrganization, ID: "user_1", Seq: seqs["user_1"] + 2}, // another entity
		{Kind: clerk.KindUser, ID: "user_2", Seq: seqs["user_1"] + 3},         // not applied
	})
	require.NoError(t, err)
	require.Len(t, applied, 1)
	require.WithinRange(t, applied[seqs["user_1"]], began.Add(-time.Second), time.Now().Add(time.Second))
	none, err := s.AppliedAt(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

// TestEntityFreshness has a row for what an event made, and none for stubs and seats.
func TestEntityFreshness(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, joinedAt(7, "orgmem_1"), userAt(5, "user_9", addressA))
	rows, err := s.Pool().Query(t.Context(), "SELECT kind, clerk_id, deleted, event_seq > 0, svix_id <> '', end_to_end_seconds > 0, applied_at > emitted_at FROM entity_freshness ORDER BY kind")
	require.NoError(t, err)
	var got [][]any
	for rows.Next() {
		values, err := rows.Values()
		require.NoError(t, err)
		got = append(got, values)
	}
	require.NoError(t, rows.Err())
	require.Equal(t, [][]any{
		{"membership", "orgmem_1", false, true, true, true, true},
		{"user", "user_9", false, true, true, true, true},
	}, got)
}
