package store_test

import (
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

// TestPageNeedsNoWorkers: one page of memberships is read by the session itself, however many
// there are. The settings have a small table planned as a large one is.
func TestPageNeedsNoWorkers(t *testing.T) {
	t.Parallel()
	queries, err := os.ReadFile("../../queries/reconcile.sql")
	require.NoError(t, err)
	_, page, found := strings.Cut(string(queries), "-- name: MembershipLiveList :many\n")
	require.True(t, found)
	page, _, _ = strings.Cut(page, ";")
	page = strings.NewReplacer("@after", "$1", "@max_count", "$2").Replace(page)

	s := testkit.OpenStore(t, testkit.DatabaseURL(t)+"&parallel_setup_cost=0&parallel_tuple_cost=0&min_parallel_index_scan_size=0&min_parallel_table_scan_size=0")
	edit(t, s, `INSERT INTO users (id, clerk_id) SELECT md5('user_' || n)::uuid, 'user_' || n FROM generate_series(1, 5000) n;
		INSERT INTO organizations (id, clerk_id) VALUES (gen_random_uuid(), 'org_1');
		INSERT INTO org_memberships (id, clerk_id, user_id, org_id, role) SELECT gen_random_uuid(), 'orgmem_' || n, md5('user_' || n)::uuid, 'org_1', 'org:member'
			FROM generate_series(1, 5000) n`)
	edit(t, s, "ANALYZE")
	conn, err := s.Pool().Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	_, err = conn.Exec(t.Context(), "PREPARE page (text, bigint) AS "+page)
	require.NoError(t, err)
	rows, err := conn.Query(t.Context(), "EXPLAIN (COSTS OFF) EXECUTE page ('', 1000)")
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	plan := strings.Join(lines, "\n")
	require.Contains(t, plan, "Index Scan using org_memberships_clerk_id_key", plan)
	require.NotContains(t, plan, "Gather", plan)
}
