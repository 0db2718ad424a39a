package clustertest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/sql"
)

// lockLimit bounds how long others wait for the lock of a migration.
const lockLimit = time.Second

// formerVersion is the migration from which all newer ones are applied: the next one moves rows.
const formerVersion = 11

// TestMigrationUnderLoad: clerksync migrate up on tables with many rows, from an older version, while receivers and workers run and applications read. No webhook fails,
// and nobody waits long for a lock.
func TestMigrationUnderLoad(t *testing.T) {
	t.Parallel()
	migrateUnderLoad(t, 200_000, 4*time.Minute)
}

// BenchmarkMigrationUnderLoad is TestMigrationUnderLoad with a million users and a million
// memberships.
func BenchmarkMigrationUnderLoad(b *testing.B) { migrateUnderLoad(b, 1_000_000, 20*time.Minute) }

func migrateUnderLoad(t testing.TB, rows int, limit time.Duration) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	databaseURL := testkit.EmptyDatabaseURL(t)
	pending := makeFormerVersion(ctx, t, databaseURL, rows)
	conn := applied(ctx, t, databaseURL)
	exec := func(statement string, args ...any) {
		t.Helper()
		_, err := conn.Exec(ctx, statement, args...)
		require.NoError(t, err)
	}

	natsURL := testkit.NATS(t).URL()
	d := newDeployment(t, natsURL, databaseURL)
	// Workers start only on tables of their version. What they need of a newer one, they try
	// again until it is there.
	exec("INSERT INTO clerk.clerksync_migrations (version_id, is_applied) SELECT unnest($1::bigint[]), true", pending)
	receivers := []string{d.serve(ctx, "receiver").endpoint, d.serve(ctx, "receiver").endpoint}
	for range 2 {
		d.serve(ctx, "worker")
	}
	exec("DELETE FROM clerk.clerksync_migrations WHERE version_id = ANY ($1)", pending)
	s := newSvix(ctx, t, receivers...)
	s.awaitService(ctx)
	s.begin()

	p := startProbes(ctx, t, databaseURL)
	began := time.Now()
	d.start("migrate", "up").succeeds(ctx, t)
	took := time.Since(began)
	longest := p.stop()
	s.awaitService(ctx)
	all, _ := s.gaps()
	s.check(ctx, conn, natsURL)
	require.Zero(t, s.busy+s.refused+s.broken, "webhooks that failed")
	t.Logf("%d users and as many memberships migrated within %s; the longest wait for a lock %s, without an acknowledgement %s",
		rows, took.Round(time.Millisecond), longest.Round(time.Millisecond), all.Round(time.Millisecond))
}

// makeFormerVersion makes the tables of formerVersion, with rows, and returns the migrations
// that are pending then.
func makeFormerVersion(ctx context.Context, t testing.TB, databaseURL string, rows int) (pending []int64) {
	t.Helper()
	began := time.Now()
	st := testkit.OpenStore(t, databaseURL)
	_, err := st.Pool().Exec(ctx, "CREATE SCHEMA clerk")
	require.NoError(t, err)
	db := stdlib.OpenDBFromPool(st.Pool())
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, sql.Migrations,
		goose.WithTableName("clerksync_migrations"), goose.WithDisableGlobalRegistry(true))
	require.NoError(t, err)
	_, err = provider.UpTo(ctx, formerVersion)
	require.NoError(t, err)
	for _, source := range provider.ListSources() {
		if source.Version > formerVersion {
			pending = append(pending, source.Version)
		}
	}
	_, err = st.Pool().Exec(ctx, strings.ReplaceAll(`
		SET LOCAL session_replication_role = replica; -- no foreign keys are checked
		SET LOCAL statement_timeout = 0;
		INSERT INTO organizations (id, clerk_id) VALUES (gen_random_uuid(), 'org_1');
		INSERT INTO users (id, clerk_id, email, primary_email, raw, created_at, updated_at)
			SELECT md5('user' || i)::uuid, 'user_m' || i, 'm' || i || '@example.com', 'm' || i || '@example.com', '{"object": "user"}', now(), now() FROM generate_series(1, ROWS) AS i;
		INSERT INTO org_memberships (id, clerk_id, user_id, org_id, role)
			SELECT md5('membership' || i)::uuid, 'orgmem_m' || i, md5('user' || i)::uuid, 'org_1', 'org:member' FROM generate_series(1, ROWS) AS i;
		INSERT INTO entity_heads (kind, clerk_id, deleted, updated_at, event_at, event_id, event_seq, applied_at)
			SELECT kind, prefix || i, false, now(), now(), 'msg_' || i, 0, now()
			FROM generate_series(1, ROWS) AS i, (VALUES ('user', 'user_m'), ('membership', 'orgmem_m')) AS kinds (kind, prefix);
		-- Seats were heads then.
		INSERT INTO entity_heads (kind, clerk_id, deleted, updated_at, event_at, event_id, event_seq, applied_at)
			SELECT 'seat', 'user_m' || i || '/org_1', false, now(), to_timestamp(0), 'orgmem_m' || i, 0, now()
			FROM generate_series(1, ROWS) AS i;
		ANALYZE`, "ROWS", strconv.Itoa(rows)))
	require.NoError(t, err)
	t.Logf("the rows are there after %s", time.Since(began).Round(time.Millisecond))
	return pending
}

const readSlowly = "SELECT pg_sleep(2) FROM clerk.users, clerk.organizations, clerk.org_memberships LIMIT 1"

// probes do what others do with the tables meanwhile.
type probes struct {
	t       testing.TB
	end     context.CancelFunc
	all     sync.WaitGroup
	mu      sync.Mutex
	longest time.Duration
}

func startProbes(ctx context.Context, t testing.TB, databaseURL string) *probes {
	p := &probes{t: t}
	ctx, p.end = context.WithCancel(ctx)
	for _, table := range []string{"users", "organizations", "org_memberships", "entity_heads"} {
		p.start(ctx, databaseURL, fmt.Sprintf("LOCK TABLE clerk.%s IN ROW EXCLUSIVE MODE", table))
	}
	p.start(ctx, databaseURL, "SELECT FROM clerk.entity_heads WHERE kind IN ('user', 'membership') AND clerk_id IN ('user_m1', 'orgmem_m1') FOR UPDATE")
	p.start(ctx, databaseURL, "SELECT FROM clerk.users WHERE clerk_id = 'user_m1' FOR UPDATE")
	// An application that reads for seconds holds up a migration, which must not hold up others.
	p.start(ctx, databaseURL, readSlowly)
	return p
}

// start executes a statement again and again. PostgreSQL itself ends one that waits longer
// than lockLimit for a lock.
func (p *probes) start(ctx context.Context, databaseURL, statement string) {
	p.t.Helper()
	conn, err := pgx.Connect(ctx, databaseURL)
	require.NoError(p.t, err)
	_, err = conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d", lockLimit.Milliseconds()))
	require.NoError(p.t, err)
	p.all.Go(func() {
		defer conn.Close(context.Background())
		for ctx.Err() == nil {
			began := time.Now()
			_, err := conn.Exec(context.Background(), "BEGIN; "+statement+"; COMMIT")
			var pg *pgconn.PgError
			switch {
			case errors.As(err, &pg) && pg.Code == pgerrcode.LockNotAvailable:
				p.t.Errorf("waited longer than %s for a lock: %s", lockLimit, statement)
				conn.Exec(context.Background(), "ROLLBACK")
			case err != nil:
				p.t.Error(err)
				return
			}
			if statement != readSlowly {
				p.mu.Lock()
				p.longest = max(p.longest, time.Since(began))
				p.mu.Unlock()
			}
		}
	})
}

// stop ends the probes and returns the longest time that one took.
func (p *probes) stop() time.Duration {
	p.end()
	p.all.Wait()
	return p.longest
}
