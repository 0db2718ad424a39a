package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestOverview: tombstones are not counted, and a large table is estimated.
func TestOverview(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	exec := func(sql string) {
		t.Helper()
		_, err := s.Pool().Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	overview := func() *store.Overview {
		t.Helper()
		o, err := s.Overview(t.Context())
		require.NoError(t, err)
		return o
	}
	o := overview()
	require.Equal(t, map[clerk.Kind]store.Count{
		clerk.KindUser: {Exact: true}, clerk.KindOrganization: {Exact: true}, clerk.KindMembership: {Exact: true},
	}, o.Counts)
	require.NotEmpty(t, o.Database)
	require.Regexp(t, `^1[5-9]`, o.Version)
	require.Greater(t, o.Latency, 0.0)
	require.Less(t, o.Latency, testkit.Patience.Seconds())

	exec(`INSERT INTO organizations (id, clerk_id, deleted_at)
		SELECT gen_random_uuid(), 'org_' || n, CASE WHEN n % 4 = 0 THEN now() END FROM generate_series(1, 10000) AS n`)
	require.Equal(t, store.Count{Rows: 7500, Exact: true}, overview().Counts[clerk.KindOrganization])

	exec(`INSERT INTO organizations (id, clerk_id, deleted_at)
		SELECT gen_random_uuid(), 'org_' || n, CASE WHEN n % 4 = 0 THEN now() END FROM generate_series(10001, 40000) AS n`)
	exec(`ANALYZE organizations`)
	c := overview().Counts[clerk.KindOrganization]
	require.False(t, c.Exact)
	require.InDelta(t, 30000, c.Rows, 1500)
	require.True(t, overview().Counts[clerk.KindUser].Exact)
}

// TestHeadsOf leaves out a stub and what is not known.
func TestHeadsOf(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	e := joinedAt(1, "orgmem_1")
	apply(t, s, entriesOf([]*clerk.Event{e}))
	heads, err := s.HeadsOf(t.Context(), []store.Ref{
		{Kind: clerk.KindMembership, ID: "orgmem_1", Seq: 7}, {Kind: clerk.KindUser, ID: "user_1", Seq: 8}, {Kind: clerk.KindUser, ID: "user_9", Seq: 9},
	})
	require.NoError(t, err)
	require.Len(t, heads, 1)
	require.Equal(t, e.ID, heads[7].EventID)
}
