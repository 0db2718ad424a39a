package store_test

import (
	"context"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/embedded/postgres"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/sql"
	"github.com/clerksync/clerksync/sql/rls"
)

const rlsFile = "rls/00001_reader.sql"

// rlsNames returns the names of migrations of row-level security.
func rlsNames(all []store.Migration) []string {
	names := []string{}
	for _, m := range all {
		if m.Set == store.RLS {
			names = append(names, m.Name)
		}
	}
	return names
}

// TestMigrateWithRLS: the set is applied when it is named, and stays chosen until it is
// removed.
func TestMigrateWithRLS(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	listed := func() []string {
		all, err := s.Migrations(t.Context())
		require.NoError(t, err)
		return rlsNames(all)
	}
	migrate := func(with ...string) []string {
		applied, err := s.Migrate(t.Context(), with...)
		require.NoError(t, err)
		require.NoError(t, s.CheckMigrated(t.Context()))
		return rlsNames(applied)
	}
	require.Empty(t, migrate())
	require.Empty(t, listed(), "nobody chose it")

	require.Equal(t, []string{rlsFile}, migrate(store.RLS))
	require.Empty(t, migrate(store.RLS))
	require.Empty(t, migrate())
	require.Equal(t, []string{rlsFile}, listed())

	edit(t, s, "INSERT INTO clerksync_rls_migrations (version_id, is_applied) VALUES (90001, true)")
	require.EqualError(t, s.CheckMigrated(t.Context()), "the tables are newer than this clerksync: it does not know 1 migration of theirs")
	edit(t, s, "DELETE FROM clerksync_rls_migrations WHERE version_id = 90001")

	for _, want := range []bool{true, false} {
		removed, err := s.RemoveRLS(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, removed)
		require.Empty(t, listed())
		require.NoError(t, s.CheckMigrated(t.Context()))
	}
	var left int
	require.NoError(t, s.Pool().QueryRow(t.Context(), `SELECT
		(SELECT count(*) FROM pg_policy WHERE polrelid IN ('users'::regclass, 'organizations'::regclass, 'org_memberships'::regclass))
		+ (SELECT count(*) FROM pg_proc WHERE pronamespace = 'clerk'::regnamespace)
		+ (SELECT count(*) FROM pg_class WHERE relnamespace = 'clerk'::regnamespace AND relrowsecurity)
		+ (SELECT count(*) FROM information_schema.column_privileges WHERE grantee = 'clerk_reader')
		+ has_schema_privilege('clerk_reader', 'clerk', 'USAGE')::int`).Scan(&left))
	require.Zero(t, left)
	require.Equal(t, []string{rlsFile}, migrate(store.RLS))
}

// TestPendingRLS: a chosen set that is incomplete is pending, a set of which nothing was
// applied is not chosen.
func TestPendingRLS(t *testing.T) {
	t.Parallel()
	s := testkit.OpenStore(t, testkit.RLSDatabaseURL(t))
	edit(t, s, "UPDATE clerksync_rls_migrations SET version_id = 0")
	require.NoError(t, s.CheckMigrated(t.Context()))
	edit(t, s, "DELETE FROM clerksync_migrations WHERE version_id = 3")
	require.ErrorContains(t, s.CheckMigrated(t.Context()), "pending migrations: 1 of ")
}

// TestScratchHasNoPolicies: a copy for verify is of the tables alone.
func TestScratchHasNoPolicies(t *testing.T) {
	t.Parallel()
	s := testkit.OpenStore(t, testkit.RLSDatabaseURL(t))
	scratch, drop, err := s.CreateScratch(t.Context())
	require.NoError(t, err)
	all, err := scratch.Migrations(t.Context())
	require.NoError(t, err)
	require.Empty(t, rlsNames(all))
	require.NoError(t, drop(t.Context()))
}

// TestEveryColumnIsDecided: a column that a migration adds is granted to the role that
// reads, or is one of those that it must not see.
func TestEveryColumnIsDecided(t *testing.T) {
	t.Parallel()
	s := testkit.OpenStore(t, testkit.RLSDatabaseURL(t))
	rows, err := s.Pool().Query(t.Context(), `SELECT c.relname || '.' || a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = 'clerk'::regnamespace AND c.relname IN ('users', 'organizations', 'org_memberships')
		AND a.attnum > 0 AND NOT a.attisdropped AND NOT has_column_privilege('clerk_reader', c.oid, a.attnum, 'SELECT') ORDER BY 1`)
	require.NoError(t, err)
	refused, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"organizations.raw", "users.email_rank", "users.raw"}, refused)

	rows, err = s.Pool().Query(t.Context(), `SELECT relname::text FROM pg_class WHERE relnamespace = 'clerk'::regnamespace AND relkind IN ('r', 'v', 'S')
		AND has_any_column_privilege('clerk_reader', oid, 'SELECT, INSERT, UPDATE, REFERENCES') ORDER BY 1`)
	require.NoError(t, err)
	readable, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Equal(t, []string{"org_memberships", "organizations", "users"}, readable)
}

// ownServer starts a PostgreSQL server for one test, since roles belong to a server, and
// returns the URL of a role of a database.
func ownServer(t *testing.T) func(user, database string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "clerksync-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755)) // the server does not run as root
	server, err := postgres.Start(t.Context(), postgres.Options{Dir: filepath.Join(dir, "postgres"), BinDir: os.Getenv("CLERKSYNC_PG_BIN"), Unsafe: true})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, server.Stop(ctx))
	})
	return func(user, database string) string {
		u, err := url.Parse(server.URL(database))
		require.NoError(t, err)
		if user != "" {
			u.User = url.UserPassword(user, "secret")
		}
		return u.String()
	}
}

// TestRoleThatMayNotCreateRoles is told what an administrator has to run, and the tables
// are as good as before; then the role that is there is used.
func TestRoleThatMayNotCreateRoles(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	admin := testkit.OpenStore(t, server("", "postgres"))
	edit(t, admin, `CREATE ROLE "the-owner" LOGIN PASSWORD 'secret'; CREATE SCHEMA clerk AUTHORIZATION "the-owner"`)
	s := testkit.OpenStore(t, server("the-owner", "postgres"))

	applied, err := s.Migrate(t.Context(), store.RLS)
	require.EqualError(t, err, `migrate: there is no role clerk_reader, and "the-owner" may not create it; `+
		`let an administrator run: CREATE ROLE clerk_reader NOLOGIN; GRANT clerk_reader TO "the-owner" (SQLSTATE 42501)`)
	require.NotEmpty(t, applied, "the tables themselves")
	require.NoError(t, s.CheckMigrated(t.Context()))
	batch(t, s, userAt(1, "user_1", addressA))

	edit(t, admin, "CREATE ROLE clerk_reader NOLOGIN BYPASSRLS")
	_, err = s.Migrate(t.Context(), store.RLS)
	require.EqualError(t, err, "migrate: the role clerk_reader is a superuser, has BYPASSRLS, or owns the tables: no policy would bind it (SQLSTATE 42501)")
	edit(t, admin, `ALTER ROLE clerk_reader NOBYPASSRLS; GRANT "the-owner" TO clerk_reader`)
	_, err = s.Migrate(t.Context(), store.RLS)
	require.ErrorContains(t, err, "or owns the tables")

	edit(t, admin, `REVOKE "the-owner" FROM clerk_reader; GRANT clerk_reader TO "the-owner"`)
	applied, err = s.Migrate(t.Context(), store.RLS)
	require.NoError(t, err)
	require.Equal(t, []string{rlsFile}, rlsNames(applied))
	readAs(t, s, "clerk_reader", map[string]string{"clerk.user_id": "user_1"}, func(tx pgx.Tx) {
		require.Equal(t, []string{"(user_1)"}, list(t, tx, "SELECT clerk_id FROM users"))
	})
}

// TestRoleThatMayCreateRoles makes the role, and may act as it.
func TestRoleThatMayCreateRoles(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	admin := testkit.OpenStore(t, server("", "postgres"))
	edit(t, admin, `CREATE ROLE owner LOGIN CREATEROLE PASSWORD 'secret'; CREATE SCHEMA clerk AUTHORIZATION owner; CREATE SCHEMA "Tenant ""2""" AUTHORIZATION owner`)
	for _, schema := range []string{"clerk", `Tenant "2"`} { // the second finds the role
		s := openSchema(t, server("owner", "postgres"), schema)
		_, err := s.Migrate(t.Context(), store.RLS)
		require.NoError(t, err)
		batch(t, s, userAt(1, "user_1", addressA), userAt(1, "user_2", ""), joinedAt(1, "orgmem_1"))
		require.Len(t, users(t, s), 2, "the owner sees all")
		readAs(t, s, "clerk_reader", map[string]string{"clerk.user_id": "user_1", "clerk.org_id": "org_1"}, func(tx pgx.Tx) {
			require.Equal(t, []string{"(user_1)"}, list(t, tx, "SELECT clerk_id FROM users"))
			require.Equal(t, []string{"(t)"}, list(t, tx, "SELECT is_member('org_1', 'member')"))
		})
	}
}

// TestMigrationsAfterRLS: a database that chose row-level security with the first release
// that has it takes all later migrations of the tables.
func TestMigrationsAfterRLS(t *testing.T) {
	t.Parallel()
	s := testkit.OpenStore(t, testkit.EmptyDatabaseURL(t))
	edit(t, s, "CREATE SCHEMA clerk")
	conn := stdlib.OpenDBFromPool(s.Pool())
	defer conn.Close()
	for _, set := range []struct {
		files fs.FS
		table string
		last  int64
	}{{sql.Migrations, "clerksync_migrations", 10}, {rls.Migrations, "clerksync_rls_migrations", 1}} {
		provider, err := goose.NewProvider(goose.DialectPostgres, conn, set.files, goose.WithTableName(set.table), goose.WithDisableGlobalRegistry(true))
		require.NoError(t, err)
		_, err = provider.UpTo(t.Context(), set.last)
		require.NoError(t, err)
	}
	_, err := s.Migrate(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.CheckMigrated(t.Context()))
}
