package store_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func schemas(t *testing.T, s *store.Store) []string {
	t.Helper()
	var names []string
	require.NoError(t, s.Pool().QueryRow(t.Context(), `SELECT array_agg(nspname::text ORDER BY nspname) FROM pg_namespace
		WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')`).Scan(&names))
	return names
}

// TestScratchIsApart: what is applied to it is nowhere else, it is not logged, and
// nothing of it stays.
func TestScratchIsApart(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", addressA))
	before := testkit.Tables(t, s)
	scratch, drop, err := s.CreateScratch(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"clerk", "clerk_verify"}, schemas(t, s))
	require.NoError(t, scratch.CheckMigrated(t.Context()))
	require.Empty(t, testkit.Tables(t, scratch))
	apply(t, scratch, entriesOf([]*clerk.Event{userAt(2, "user_2", addressA), joinedAt(1, "orgmem_1")}))
	require.Equal(t, before, testkit.Tables(t, s))
	var logged int
	require.NoError(t, s.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_class
		WHERE relnamespace = 'clerk_verify'::regnamespace AND relkind = 'r' AND relpersistence <> 'u' AND relname NOT IN ('clerksync_migrations', 'sync_status', 'event_log') AND relname !~ '^backfill_'`).Scan(&logged))
	require.Zero(t, logged)
	require.NoError(t, drop(t.Context()))
	require.Equal(t, []string{"clerk"}, schemas(t, s))
	require.Equal(t, before, testkit.Tables(t, s))
}

// TestSecondScratchIsRefused while the first is there, and made afterwards.
func TestSecondScratchIsRefused(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	s, other := testkit.OpenStore(t, url), testkit.OpenStore(t, url)
	_, drop, err := s.CreateScratch(t.Context())
	require.NoError(t, err)
	for range 2 {
		_, _, err = other.CreateScratch(t.Context())
		require.ErrorIs(t, err, store.ErrScratchInUse)
		require.EqualError(t, err, "make the scratch tables: another verify is running")
	}
	require.NoError(t, drop(t.Context()))
	_, drop, err = other.CreateScratch(t.Context())
	require.NoError(t, err)
	require.NoError(t, drop(t.Context()))
}

// TestScratchOfAKilledRunIsRemoved: with it the lock is gone, and the schema stays.
func TestScratchOfAKilledRunIsRemoved(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	scratch, drop, err := s.CreateScratch(t.Context())
	require.NoError(t, err)
	batch(t, scratch, userAt(1, "user_1", addressA))
	_, err = s.Pool().Exec(t.Context(), "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
	require.NoError(t, err)
	require.Error(t, drop(t.Context()))
	require.Equal(t, []string{"clerk", "clerk_verify"}, schemas(t, s))
	require.Empty(t, testkit.Tables(t, scratchOf(t, s)))
}

// TestSchemaOfSomebodyElseIsNotDropped, whatever it is called.
func TestSchemaOfSomebodyElseIsNotDropped(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	_, err := s.Pool().Exec(t.Context(), "CREATE SCHEMA clerk_verify; CREATE TABLE clerk_verify.theirs ()")
	require.NoError(t, err)
	_, _, err = s.CreateScratch(t.Context())
	require.EqualError(t, err, "make the scratch tables: there is a schema clerk_verify that clerksync did not make: rename or drop it")
	_, err = s.Pool().Exec(t.Context(), "SELECT FROM clerk_verify.theirs")
	require.NoError(t, err)
}

// TestScratchOfALongName is not the schema itself, to whose name PostgreSQL would
// cut the longer one.
func TestScratchOfALongName(t *testing.T) {
	t.Parallel()
	url := testkit.EmptyDatabaseURL(t)
	for _, name := range []string{strings.Repeat("x", 63), strings.Repeat("ü", 31), `Tenant "2"`} {
		s := openSchema(t, url, name)
		_, err := s.Migrate(t.Context())
		require.NoError(t, err)
		batch(t, s, userAt(1, "user_1", addressA))
		before := testkit.Tables(t, s)
		scratch, drop, err := s.CreateScratch(t.Context())
		require.NoError(t, err)
		require.Empty(t, testkit.Tables(t, scratch))
		require.Len(t, differences(t, s, scratch), 2)
		require.NoError(t, drop(context.Background()))
		require.Equal(t, before, testkit.Tables(t, s))
	}
}

// TestScratchWithoutTheRight to make a schema says which right that is.
func TestScratchWithoutTheRight(t *testing.T) {
	t.Parallel()
	admin := testkit.Store(t)
	role := "role_" + admin.Pool().Config().ConnConfig.Database
	_, err := admin.Pool().Exec(t.Context(), fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA clerk TO %[1]s", role))
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Pool().Exec(context.Background(), fmt.Sprintf("DROP OWNED BY %s; DROP ROLE %[1]s", role))
		require.NoError(t, err)
	})
	config := admin.Pool().Config().ConnConfig
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, "x"), Host: fmt.Sprintf("%s:%d", config.Host, config.Port), Path: config.Database}
	s := testkit.OpenStore(t, u.String()+"?sslmode=disable")
	_, _, err = s.CreateScratch(t.Context())
	require.ErrorIs(t, err, store.ErrMayNotCreate)
	s.Close()
}
