package store_test

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/sql"
)

func openSchema(t *testing.T, url, schema string, change ...func(*store.Options)) *store.Store {
	t.Helper()
	o := store.Options{URL: url, Schema: schema, MaxConns: 4}
	for _, f := range change {
		f(&o)
	}
	s, err := store.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// edit is an operator's statement.
func edit(t require.TestingT, s *store.Store, statement string, args ...any) {
	_, err := s.Pool().Exec(context.Background(), statement, args...)
	require.NoError(t, err)
}

// TestMigrate: before, all is pending, and to look changes nothing; after, nothing
// is; a second time there is nothing to do.
func TestMigrate(t *testing.T) {
	t.Parallel()
	s := testkit.OpenStore(t, testkit.EmptyDatabaseURL(t))

	before, err := s.Migrations(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, before)
	for _, m := range before {
		require.True(t, m.AppliedAt.IsZero(), m.Name)
	}
	err = s.CheckMigrated(t.Context())
	require.ErrorIs(t, err, store.ErrPending)
	require.EqualError(t, err, fmt.Sprintf("pending migrations: %d of %[1]d", len(before)))
	require.Equal(t, fmt.Sprintf("%d migrations are pending", len(before)), store.Outage(err))
	var schemas int
	require.NoError(t, s.Pool().QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'clerk'").Scan(&schemas))
	require.Zero(t, schemas, "to look changes nothing")

	applied, err := s.Migrate(t.Context())
	require.NoError(t, err)
	require.Len(t, applied, len(before))
	after, err := s.Migrations(t.Context())
	require.NoError(t, err)
	require.Len(t, after, len(before))
	for i, m := range after {
		require.False(t, m.AppliedAt.IsZero(), m.Name)
		require.Equal(t, before[i].Version, m.Version)
		require.Equal(t, before[i].Name, m.Name)
	}
	require.NoError(t, s.CheckMigrated(t.Context()))
	batch(t, s, userAt(1, "user_1", addressA))

	again, err := s.Migrate(t.Context())
	require.NoError(t, err)
	require.Empty(t, again)
	require.Len(t, users(t, s), 1)
}

// TestMigrationsGoDownAgain: one by one, until nothing is left but what goose keeps.
func TestMigrationsGoDownAgain(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", addressA), joinedAt(1, "orgmem_1"))
	conn := stdlib.OpenDBFromPool(s.Pool())
	defer conn.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, conn, sql.Migrations,
		goose.WithTableName("clerksync_migrations"), goose.WithDisableGlobalRegistry(true))
	require.NoError(t, err)
	_, err = provider.DownTo(t.Context(), 1)
	require.NoError(t, err)
	all, err := s.Migrations(t.Context())
	require.NoError(t, err)
	require.EqualError(t, s.CheckMigrated(t.Context()), fmt.Sprintf("pending migrations: %d of %d", len(all)-1, len(all)))
	_, err = provider.DownTo(t.Context(), 0)
	require.NoError(t, err)
	var tables int
	require.NoError(t, s.Pool().QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'clerk'").Scan(&tables))
	require.Equal(t, 1, tables)
	_, err = s.Migrate(t.Context())
	require.NoError(t, err)
	batch(t, s, userAt(1, "user_1", addressA))
}

// TestTablesOfANewerVersion are not touched by this one, which says so.
func TestTablesOfANewerVersion(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	for i, want := range []string{
		"the tables are newer than this clerksync: it does not know 1 migration of theirs",
		"the tables are newer than this clerksync: it does not know 2 migrations of theirs",
	} {
		edit(t, s, "INSERT INTO clerksync_migrations (version_id, is_applied) VALUES ($1, true)", 90000+i)
		err := s.CheckMigrated(t.Context())
		require.ErrorIs(t, err, store.ErrNewer)
		require.EqualError(t, err, want)
		require.Equal(t, "the tables are newer than this clerksync", store.Outage(err))
		_, err = s.Migrate(t.Context())
		require.EqualError(t, err, want)
	}
	edit(t, s, "DELETE FROM clerksync_migrations WHERE version_id = 1")
	require.ErrorIs(t, s.CheckMigrated(t.Context()), store.ErrNewer, "an older program cannot apply what is pending")
}

// TestCheckMigratedIsOneStatement, and cheap: it is run with every reading of the lag.
func TestCheckMigratedIsOneStatement(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	require.NoError(t, s.CheckMigrated(t.Context()))
	var count statements
	traced, err := s.Traced(t.Context(), &count)
	require.NoError(t, err)
	defer traced.Close()
	require.NoError(t, traced.Ping(t.Context())) // connects
	count.Store(0)
	require.NoError(t, traced.CheckMigrated(t.Context()))
	require.EqualValues(t, 1, count.Load())
}

// statements counts them.
type statements struct{ atomic.Int64 }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.Add(1)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestMigrateConcurrently: of four processes that start at once, each migration is
// applied by one, and none fails.
func TestMigrateConcurrently(t *testing.T) {
	t.Parallel()
	url := testkit.EmptyDatabaseURL(t)
	for _, schema := range []string{"first", "second", "third"} {
		var stores []*store.Store
		for range 4 {
			s := openSchema(t, url, schema)
			require.NoError(t, s.Ping(t.Context()))
			stores = append(stores, s)
		}
		all, err := stores[0].Migrations(t.Context())
		require.NoError(t, err)
		var wait sync.WaitGroup
		begin := make(chan struct{})
		applied := make([]int, len(stores))
		errs := make([]error, len(stores))
		for i, s := range stores {
			wait.Go(func() {
				<-begin
				done, err := s.Migrate(context.Background())
				applied[i], errs[i] = len(done), err
			})
		}
		close(begin)
		wait.Wait()
		sum := 0
		for i := range stores {
			require.NoError(t, errs[i])
			sum += applied[i]
		}
		require.Equal(t, len(all), sum)
		require.NoError(t, stores[0].CheckMigrated(t.Context()))
	}
}

// TestSecondSchemaIsIsolated: two sets of tables in one database know nothing of
// each other, whatever their names need for quotes.
func TestSecondSchemaIsIsolated(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	first, second := testkit.OpenStore(t, url), openSchema(t, url, "Tenant-2")
	batch(t, first, userAt(1, "user_1", addressA))
	require.ErrorIs(t, second.CheckMigrated(t.Context()), store.ErrPending)
	_, err := second.Migrate(t.Context())
	require.NoError(t, err)
	require.Empty(t, testkit.Tables(t, second))
	batch(t, second, userAt(1, "user_2", addressA), joinedAt(1, "orgmem_1"))
	require.Equal(t, map[string]string{"user_1": addressA}, emailsOf(t, first))
	require.Equal(t, map[string]string{"user_2": addressA}, emailsOf(t, second))
	require.Empty(t, members(t, first))
	require.NoError(t, first.CheckMigrated(t.Context()))
}

// TestRoleThatMayNotCreateSchemas: a careful operator makes the schema and gives it
// to a role that may do nothing else in the database.
func TestRoleThatMayNotCreateSchemas(t *testing.T) {
	t.Parallel()
	asOperator := testkit.EmptyDatabaseURL(t)
	operator, err := pgx.Connect(t.Context(), asOperator)
	require.NoError(t, err)
	role := "role_of_" + operator.Config().Database
	_, err = operator.Exec(t.Context(), "CREATE ROLE "+role+" LOGIN PASSWORD 'secret'; CREATE SCHEMA clerk AUTHORIZATION "+role)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx := context.Background()
		_, err := operator.Exec(ctx, "DROP OWNED BY "+role+"; DROP ROLE "+role)
		require.NoError(t, err)
		require.NoError(t, operator.Close(ctx))
	})
	u, err := url.Parse(asOperator)
	require.NoError(t, err)
	u.User = url.UserPassword(role, "secret")

	s := testkit.OpenStore(t, u.String())
	_, err = s.Migrate(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.CheckMigrated(t.Context()))
	require.Equal(t, []store.Outcome{store.Applied, store.Applied}, batch(t, s, userAt(1, "user_1", addressA), joinedAt(1, "orgmem_1")))

	elsewhere := openSchema(t, u.String(), "elsewhere")
	_, err = elsewhere.Migrate(t.Context())
	require.ErrorContains(t, err, "create the schema: permission denied for database")
}

// TestOpenNeedsASchema: which one is the configuration's default, and no other.
func TestOpenNeedsASchema(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), store.Options{URL: "postgres://127.0.0.1:1/db"})
	require.EqualError(t, err, "open database: no schema is named")
}
