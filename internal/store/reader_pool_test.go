package store_test

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func openReader(t *testing.T, url string) *store.Reader {
	t.Helper()
	r, err := store.OpenReader(t.Context(), store.Options{URL: url, Schema: "clerk", ApplicationName: "clerksync-api", MaxConns: 2})
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// TestReaderHasItsOwnSettings: it cannot write, gives up soon, and has none of the planner
// settings of the write path.
func TestReaderHasItsOwnSettings(t *testing.T) {
	t.Parallel()
	r := openReader(t, testkit.DatabaseURL(t))
	for setting, want := range map[string]string{
		"application_name": "clerksync-api", "statement_timeout": "3s", "default_transaction_read_only": "on", "search_path": `"clerk"`,
		"enable_seqscan": "on", "enable_hashjoin": "on", "enable_mergejoin": "on", "join_collapse_limit": "8",
	} {
		var got string
		require.NoError(t, r.Pool().QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
		require.Equal(t, want, got, setting)
	}
	_, err := r.Pool().Exec(t.Context(), "DELETE FROM users")
	require.ErrorContains(t, err, "read-only transaction")
}

// TestReaderNoticesTheMigration: a reader that is open when the tables get row-level
// security is bound by it within seconds, and nothing of a query stays with the
// connection.
func TestReaderNoticesTheMigration(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	st := testkit.OpenStore(t, url)
	r := openReader(t, url)
	store.RewriteQueries(r, func(sql string) string { return tenancy.ReplaceAllString(sql, "$1::text IS NOT NULL") })
	_, err := st.Apply(t.Context(), []store.Entry{{Change: testkit.Change(testkit.Event("msg_1", "user.created", 1768208400000, testkit.UserData("user_1", "", "Ada", 1, 1))), Seq: 1}})
	require.NoError(t, err)
	nobody := store.Viewer{UserID: "user_nobody", Claims: []byte(`{"sub":"user_nobody"}`)}
	ada := store.Viewer{UserID: "user_1", Claims: []byte(`{"sub":"user_1"}`)}
	known := func(v store.Viewer) bool {
		t.Helper()
		_, known, err := r.Role(t.Context(), v)
		require.NoError(t, err)
		return known
	}
	require.True(t, known(nobody), "without its condition, the query finds everybody")
	_, err = st.Migrate(t.Context(), store.RLS)
	require.NoError(t, err)
	testkit.Eventually(t, "it is bound", func() (bool, any) { return !known(nobody), nil })
	for range 8 { // on all connections
		require.False(t, known(nobody))
		require.True(t, known(ada))
		var role, claims string
		require.NoError(t, r.Pool().QueryRow(t.Context(), "SELECT (current_user = session_user)::text, coalesce(current_setting('request.jwt.claims', true), '')").Scan(&role, &claims))
		require.Equal(t, "true ", role+" "+claims)
	}
}

var rowsRead = regexp.MustCompile(`actual rows=(\d+)`)

// TestPageOfMembersReadsNoMore: a page of a large organization costs the same wherever it
// is, also below the policies.
func TestPageOfMembersReadsNoMore(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(testing.TB) string{"plain": testkit.DatabaseURL, "with policies": testkit.RLSDatabaseURL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := database(t)
			st := testkit.OpenStore(t, url)
			for _, statement := range []string{
				`INSERT INTO users (id, clerk_id, updated_at) SELECT md5('u' || i)::uuid, 'user_' || i, now() FROM generate_series(1, 3000) AS i`,
				`INSERT INTO organizations (id, clerk_id) SELECT md5('o' || i)::uuid, 'org_' || i FROM generate_series(1, 100) AS i`,
				`INSERT INTO org_memberships (id, clerk_id, user_id, org_id, role)
					SELECT md5('m' || i)::uuid, 'orgmem_' || i, md5('u' || i)::uuid, 'org_1', 'org:member' FROM generate_series(1, 3000) AS i`,
				`ANALYZE`,
			} {
				_, err := st.Pool().Exec(t.Context(), statement)
				require.NoError(t, err)
			}
			r := openReader(t, url)
			var page string
			store.RewriteQueries(r, func(sql string) string { page = sql; return sql })
			claims := `{"sub":"user_7","o":{"id":"org_1"}}`
			members, allowed, err := r.Members(t.Context(), store.Viewer{UserID: "user_7", OrgID: "org_1", Claims: []byte(claims)}, store.Members{Most: 50})
			require.NoError(t, err)
			require.True(t, allowed)
			require.Len(t, members, 50)

			conn, err := r.Pool().Acquire(t.Context())
			require.NoError(t, err)
			defer conn.Release()
			tx, err := conn.Begin(t.Context())
			require.NoError(t, err)
			defer tx.Rollback(t.Context())
			_, err = tx.Exec(t.Context(), "PREPARE page AS "+page)
			require.NoError(t, err)
			if name == "with policies" {
				_, err = tx.Exec(t.Context(), "SELECT set_config('role', 'clerk_reader', true), set_config('request.jwt.claims', $1, true)", claims)
				require.NoError(t, err)
			}
			for _, after := range []string{"", "orgmem_2", "orgmem_9"} {
				plan := ""
				rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) EXECUTE page('org_1', '"+after+"', '{}', '', 51, 'user_7')")
				require.NoError(t, err)
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				require.NoError(t, err)
				for _, line := range lines {
					plan += line + "\n"
				}
				found := rowsRead.FindAllStringSubmatch(plan, -1)
				require.NotEmpty(t, found, plan)
				for _, m := range found {
					n, err := strconv.Atoi(m[1])
					require.NoError(t, err)
					require.LessOrEqual(t, n, 51, plan)
				}
			}
		})
	}
}
