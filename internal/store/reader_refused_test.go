package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// twoTenants returns a store with two people in two organizations.
func twoTenants(t *testing.T) *store.Store {
	t.Helper()
	s := testkit.OpenStore(t, testkit.RLSDatabaseURL(t))
	batch(t, s, userAt(1, "user_1", addressA), userAt(1, "user_2", addressB), orgAt(1, "org_1"), orgAt(1, "org_2"), joinedAt(1, "orgmem_1"),
		testkit.Event("msg_2", "organizationMembership.created", base+1, testkit.MembershipData("orgmem_2", "user_2", "org_2", "org:admin", base, base)))
	return s
}

// first is user_1 in org_1.
var first = map[string]string{"request.jwt.claims": `{"sub":"user_1","v":2,"o":{"id":"org_1","rol":"member"}}`}

// TestReaderIsRefused: columns, tables and commands that are not for it.
func TestReaderIsRefused(t *testing.T) {
	t.Parallel()
	s := twoTenants(t)
	for statement, want := range map[string]string{
		"SELECT raw FROM users":                     "permission denied for table users",
		"SELECT 1 FROM users WHERE raw IS NULL":     "permission denied for table users",
		"SELECT * FROM users":                       "permission denied for table users",
		"SELECT to_jsonb(u) FROM users u":           "permission denied for table users",
		"SELECT email_rank FROM users":              "permission denied for table users",
		"SELECT raw FROM organizations":             "permission denied for table organizations",
		"SELECT clerk_id FROM active_users":         "permission denied for view active_users",
		"SELECT clerk_id FROM active_organizations": "permission denied for view active_organizations",
		"SELECT * FROM entity_heads":                "permission denied for table entity_heads",
		"SELECT * FROM seats":                       "permission denied for table seats",
		"SELECT * FROM entity_freshness":            "permission denied for view entity_freshness",
		"SELECT * FROM event_log":                   "permission denied for table event_log",
		"SELECT * FROM sync_status":                 "permission denied for table sync_status",
		"SELECT * FROM backfill_run":                "permission denied for table backfill_run",
		"SELECT * FROM clerksync_migrations":        "permission denied for table clerksync_migrations",
		"SELECT clerk_id FROM users FOR SHARE":      "permission denied for table users",
		"UPDATE users SET banned = false":           "permission denied for table users",
		"DELETE FROM org_memberships":               "permission denied for table org_memberships",

		"INSERT INTO organizations (id, clerk_id) SELECT gen_random_uuid(), 'org_3'": "permission denied for table organizations",

		"TRUNCATE users": "permission denied for table users",
		"ALTER TABLE users DISABLE ROW LEVEL SECURITY":             "must be owner of table users",
		"DROP POLICY reader ON users":                              "must be owner of relation users",
		"CREATE FUNCTION clerk.f() RETURNS int RETURN 1":           "permission denied for schema clerk",
		"SET LOCAL row_security = off; SELECT clerk_id FROM users": `query would be affected by row-level security policy for table "users"`,
	} {
		readAs(t, s, "clerk_reader", first, func(tx pgx.Tx) {
			_, err := tx.Exec(t.Context(), statement)
			require.ErrorContains(t, err, want, statement)
			require.ErrorContains(t, err, "SQLSTATE 42501", statement)
		})
	}
	readAs(t, s, "clerk_reader", first, func(tx pgx.Tx) {
		require.Equal(t, []string{"(0)"}, list(t, tx, "SELECT count(*) FROM pg_stats WHERE schemaname = 'clerk'"), "samples of columns")
	})
}

// TestReaderWithEveryNull: arguments that are NULL never make a member.
func TestReaderWithEveryNull(t *testing.T) {
	t.Parallel()
	s := twoTenants(t)
	readAs(t, s, "clerk_reader", first, func(tx pgx.Tx) {
		for call, want := range map[string]string{
			"is_member('org_1')": "(t)", "is_member('org_1', NULL, 'member')": "(t)", "is_member('org_1', 'admin', 'org:member')": "(t)",
			"is_member('org_2')": "(f)", "is_member(NULL)": "(f)", "is_member('org_1', NULL)": "(f)", "is_member('org_1', VARIADIC NULL::text[])": "(f)",
			"is_member('org_1', 'admin')": "(f)", "is_member('org_1', '')": "(f)", "is_member('org_1', 'org:')": "(f)",
		} {
			require.Equal(t, []string{want}, list(t, tx, "SELECT "+call), call)
		}
	})
}

// TestLeakyFunctionsSeeNoOtherRow: a function in a WHERE, however cheap it claims to be,
// is called after the policy.
func TestLeakyFunctionsSeeNoOtherRow(t *testing.T) {
	t.Parallel()
	s := twoTenants(t)
	edit(t, s, `CREATE FUNCTION public.leak(anything text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$
		BEGIN IF anything LIKE '%2' OR anything = '`+addressB+`' THEN RAISE 'leaked %', anything; END IF; RETURN true; END $$`)
	for _, query := range []string{
		"SELECT clerk_id FROM users WHERE public.leak(clerk_id) AND public.leak(email)",
		"SELECT clerk_id FROM organizations WHERE public.leak(clerk_id)",
		"SELECT clerk_id FROM org_memberships WHERE public.leak(org_id)",
		"SELECT u.clerk_id FROM users u JOIN org_memberships m ON public.leak(u.clerk_id) AND public.leak(m.org_id)",
		"SELECT clerk_id FROM users WHERE 1 / (clerk_id <> 'user_2')::int = 1",
	} {
		readAs(t, s, "clerk_reader", first, func(tx pgx.Tx) { require.Len(t, list(t, tx, query), 1, query) })
	}
}

// TestSearchPathIsNoWayIn: what a session puts in front of the tables and of the built-in
// functions is used by no policy and no function of ours.
func TestSearchPathIsNoWayIn(t *testing.T) {
	t.Parallel()
	s := twoTenants(t)
	edit(t, s, `CREATE SCHEMA evil;
		CREATE FUNCTION evil.current_identity(OUT user_id text, OUT org_id text) RETURN ('user_2', 'org_2');
		CREATE FUNCTION evil.current_setting(text, boolean) RETURNS text RETURN '{"sub":"user_2","org_id":"org_2"}';
		CREATE FUNCTION evil.nullif(text, text) RETURNS text RETURN 'user_2';
		CREATE FUNCTION evil.yes(text, text) RETURNS boolean RETURN true;
		CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
		GRANT USAGE ON SCHEMA evil TO PUBLIC`)
	readAs(t, s, "clerk_reader", first, func(tx pgx.Tx) {
		_, err := tx.Exec(t.Context(), `
			CREATE TEMPORARY TABLE users (id uuid, clerk_id text, deleted_at timestamptz, banned boolean DEFAULT false, locked boolean DEFAULT false, deprovisioned boolean DEFAULT false);
			CREATE TEMPORARY TABLE org_memberships (org_id text, user_id uuid, role text);
			INSERT INTO users SELECT id, clerk_id FROM clerk.users;
			INSERT INTO org_memberships SELECT 'org_2', id, 'org:admin' FROM users;
			SET LOCAL search_path = pg_temp, evil, pg_catalog, clerk;
			SET LOCAL request.jwt.claims = '{"sub":"user_1","o":{"id":"org_2"}}'`)
		require.NoError(t, err)
		require.Equal(t, []string{"(f,,user_1,org_2)"},
			list(t, tx, "SELECT clerk.is_member('org_2'), clerk.member_org_id(), clerk.current_user_id(), clerk.current_org_id()"))
		require.Equal(t, []string{"(user_1)"}, list(t, tx, "SELECT clerk_id FROM clerk.users"))
		require.Equal(t, []string{"(orgmem_1)"}, list(t, tx, "SELECT clerk_id FROM clerk.org_memberships"))
	})
}

// TestClaimsOfAnySize: of a claims setting that PostgreSQL cannot parse there is no
// identity, and no error.
func TestClaimsOfAnySize(t *testing.T) {
	t.Parallel()
	s := twoTenants(t)
	large, err := json.Marshal(testkit.Object{"sub": "user_1", "org_id": "org_1", "x": strings.Repeat("x", 1<<20)})
	require.NoError(t, err)
	for claims, want := range map[string]string{
		string(large): "(user_1,org_1)", strings.Repeat(`{"o":`, 50_000): "(,)", `{"sub":"user_1","o":[{"id":"org_1"}],"org_id":null}`: "(user_1,)",
		`{"sub":"user_1","o":"org_1"}`: "(user_1,)", `{"sub":"user_1","o":{"id":"org_1"},"org_id":"org_1"}`: "(user_1,org_1)",
	} {
		readAs(t, s, "clerk_reader", map[string]string{"request.jwt.claims": claims}, func(tx pgx.Tx) {
			require.Equal(t, []string{want}, list(t, tx, "SELECT current_user_id(), current_org_id()"), claims[:min(len(claims), 80)])
		})
	}
}

// TestSettingsEndWithTheTransaction: a pooled session that served one tenant gives the next
// transaction nobody's rows.
func TestSettingsEndWithTheTransaction(t *testing.T) {
	t.Parallel()
	s := twoTenants(t)
	conn, err := s.Pool().Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	for _, settings := range []string{"set_config('request.jwt.claims', '" + first["request.jwt.claims"] + "', true)", "set_config('clerk.user_id', 'user_1', true)"} {
		count := func(set string) (n int) {
			require.NoError(t, pgx.BeginFunc(context.Background(), conn, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), fmt.Sprintf("SET LOCAL ROLE clerk_reader; %s", set)); err != nil {
					return err
				}
				return tx.QueryRow(t.Context(), "SELECT count(*) FROM users").Scan(&n)
			}))
			return n
		}
		require.Equal(t, 1, count("SELECT "+settings))
		require.Zero(t, count(""))
	}
}

// TestRowsThatAreDeletedByHand are invisible, although their memberships are still there:
// an event would have removed these.
func TestRowsThatAreDeletedByHand(t *testing.T) {
	t.Parallel()
	s := twoTenants(t)
	batch(t, s, testkit.Event("msg_3", "organizationMembership.created", base+1, testkit.MembershipData("orgmem_3", "user_2", "org_1", "org:member", base, base)))
	readAs(t, s, "clerk_reader", first, func(tx pgx.Tx) {
		require.Equal(t, []string{"(user_1)", "(user_2)"}, list(t, tx, "SELECT clerk_id FROM users"))
		edit(t, s, "UPDATE users SET deleted_at = now() WHERE clerk_id = 'user_2'; UPDATE organizations SET deleted_at = now() WHERE clerk_id = 'org_1'")
		require.Equal(t, []string{"(user_1)"}, list(t, tx, "SELECT clerk_id FROM users"))
		require.Empty(t, list(t, tx, "SELECT clerk_id FROM organizations"))
	})
}
