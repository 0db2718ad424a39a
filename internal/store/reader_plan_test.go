package store_test

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// documentedSQL returns the block of SQL in docs/tenants.md that follows a heading.
func documentedSQL(t *testing.T, heading string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/tenants.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "\n## "+heading+"\n")
	require.True(t, found, heading)
	_, block, found := strings.Cut(section, "```sql\n")
	require.True(t, found, heading)
	block, _, _ = strings.Cut(block, "```")
	return block
}

// TestTablesOfAnApplication: the policy in the documentation shows an application's rows
// of one tenant, takes rows for that tenant alone, asks who reads once for a query, and
// uses the index on the organization.
func TestTablesOfAnApplication(t *testing.T) {
	t.Parallel()
	s := twoTenants(t)
	app := "app_" + s.Pool().Config().ConnConfig.Database // roles belong to the server, which other tests use too
	edit(t, s, "BEGIN; SET LOCAL search_path = public; "+strings.ReplaceAll(documentedSQL(t, "Your own tables"), "app_tenant", app)+"; COMMIT")
	t.Cleanup(func() { edit(t, s, fmt.Sprintf("DROP OWNED BY %s; DROP ROLE %[1]s", app)) })
	edit(t, s, `INSERT INTO public.posts (org_id, author_id, title) SELECT 'org_' || 1 + n % 2, $1, 'post ' || n FROM generate_series(1, 2000) AS n`, clerk.UUID("user_1"))
	edit(t, s, `INSERT INTO organizations (id, clerk_id) SELECT gen_random_uuid(), 'org_x' || n FROM generate_series(1, 1000) n`)
	edit(t, s, `INSERT INTO public.posts (org_id, author_id, title) SELECT 'org_x' || n, $1, 'other' FROM generate_series(1, 1000) AS n, generate_series(1, 20)`, clerk.UUID("user_1"))
	edit(t, s, "VACUUM ANALYZE public.posts")

	readAs(t, s, app, first, func(tx pgx.Tx) {
		require.Equal(t, []string{"(org_1,1000)"}, list(t, tx, "SELECT org_id, count(*) FROM public.posts GROUP BY org_id"))
	})
	readAs(t, s, app, nil, func(tx pgx.Tx) { require.Empty(t, list(t, tx, "SELECT id FROM public.posts")) })
	readAs(t, s, app, map[string]string{"clerk.user_id": "user_1", "clerk.org_id": "org_2"}, func(tx pgx.Tx) {
		require.Empty(t, list(t, tx, "SELECT id FROM public.posts"), "a token for an organization that its user is not in")
	})
	for _, statement := range []string{
		"INSERT INTO public.posts (org_id, author_id, title) SELECT 'org_2', id, 'x' FROM clerk.users",
		"UPDATE public.posts SET org_id = 'org_2'",
	} {
		readAs(t, s, app, first, func(tx pgx.Tx) {
			_, err := tx.Exec(t.Context(), statement)
			require.ErrorContains(t, err, `new row violates row-level security policy for table "posts"`, statement)
		})
	}

	readAs(t, s, app, first, func(tx pgx.Tx) {
		_, err := tx.Exec(t.Context(), "INSERT INTO public.posts (org_id, author_id, title) SELECT 'org_1', id, 'mine' FROM clerk.users")
		require.NoError(t, err)
		rows, err := tx.Query(t.Context(), "EXPLAIN (COSTS OFF) SELECT title FROM public.posts")
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		plan := strings.Join(lines, "\n")
		require.Contains(t, plan, "InitPlan 1 (returns $0)", plan)
		require.Contains(t, plan, "Index Cond: (org_id = $0)", plan)
	})
	require.EqualValues(t, 1, calls(t, s, app, "member_org_id", "SELECT count(title) FROM public.posts"))
}

// TestPoliciesAreEvaluatedOnce for a query, however many rows it reads, and use the
// indexes.
func TestPoliciesAreEvaluatedOnce(t *testing.T) {
	t.Parallel()
	s := testkit.OpenStore(t, testkit.RLSDatabaseURL(t))
	edit(t, s, `INSERT INTO users (id, clerk_id) SELECT md5('user_' || n)::uuid, 'user_' || n FROM generate_series(1, 5000) n;
		INSERT INTO organizations (id, clerk_id) SELECT gen_random_uuid(), 'org_' || n FROM generate_series(1, 5000) n;
		INSERT INTO org_memberships (id, clerk_id, user_id, org_id, role) SELECT gen_random_uuid(), 'orgmem_' || n, md5('user_' || n)::uuid, 'org_' || 1 + n % 500, 'org:member'
			FROM generate_series(1, 5000) n`)
	edit(t, s, "ANALYZE")
	for query, most := range map[string]int64{ // one for each place of the policies that says it
		"SELECT count(name) FROM users": 3, "SELECT count(name) FROM organizations": 2, "SELECT count(role) FROM org_memberships": 1,
	} {
		require.Positive(t, calls(t, s, "clerk_reader", "active_user_uuid", query), query)
		require.LessOrEqual(t, calls(t, s, "clerk_reader", "active_user_uuid", query), most, query)
		require.LessOrEqual(t, calls(t, s, "clerk_reader", "member_org_id", query), most, query)
	}
	for query, index := range map[string]string{
		"SELECT name FROM users WHERE clerk_id = 'user_1'": "users_clerk_id_key",
		"SELECT name FROM organizations":                   "organizations_clerk_id_key",
		"SELECT role FROM org_memberships":                 "org_memberships_org_id_clerk_id_idx",

		"SELECT u.name FROM org_memberships m JOIN users u ON u.id = m.user_id WHERE m.org_id = 'org_1'": "users_pkey",
	} {
		readAs(t, s, "clerk_reader", first, func(tx pgx.Tx) {
			rows, err := tx.Query(t.Context(), "EXPLAIN (COSTS OFF) "+query)
			require.NoError(t, err)
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			plan := strings.Join(lines, "\n")
			require.Contains(t, plan, index, plan)
			require.NotContains(t, plan, "Seq Scan", plan)
		})
	}
}

// calls counts the calls of a function by a query.
func calls(t *testing.T, s *store.Store, role, function, query string) (n int64) {
	t.Helper()
	settings := maps.Clone(first)
	settings["track_functions"] = "all"
	readAs(t, s, role, settings, func(tx pgx.Tx) {
		counted := func() (n int64) { // with those of transactions before that the session has not reported
			require.NoError(t, tx.QueryRow(t.Context(), "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_xact_user_functions WHERE funcname = $1", function).Scan(&n))
			return n
		}
		before := counted()
		_, err := tx.Exec(t.Context(), query)
		require.NoError(t, err)
		n = counted() - before
	})
	return n
}
