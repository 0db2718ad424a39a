package store_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// workerOf opens a store for a worker that does not own the tables, as in
// deploy/postgres/roles.sql.
func workerOf(t *testing.T, owner *store.Store) (worker *store.Store, role string) {
	t.Helper()
	role = roleFor(t, owner, "worker", `ALTER ROLE %[1]s LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA clerk TO %[1]s;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA clerk TO %[1]s`)
	config := owner.Pool().Config().ConnConfig
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, "secret"), Host: fmt.Sprintf("%s:%d", config.Host, config.Port),
		Path: config.Database, RawQuery: "sslmode=disable",
	}
	worker = testkit.OpenStore(t, u.String())
	t.Cleanup(worker.Close) // before the role is dropped
	return worker, role
}

// texts collects the statements of a store.
type texts struct {
	mu  sync.Mutex
	all map[string]bool
}

func (x *texts) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all[q.SQL] = true
	return ctx
}

func (*texts) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (x *texts) TraceBatchStart(ctx context.Context, _ *pgx.Conn, b pgx.TraceBatchStartData) context.Context {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, q := range b.Batch.QueuedQueries {
		x.all[q.SQL] = true
	}
	return ctx
}

func (*texts) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*texts) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// TestWorkerIsNotBound: to a worker that does not own the tables, row-level security
// changes neither the rows nor a plan.
func TestWorkerIsNotBound(t *testing.T) {
	t.Parallel()
	const address = "traded@example.com"
	history := append(testkit.ManyHistories(20), userAt(1, "user_a", address), userAt(2, "user_b", address), userAt(3, "user_b", ""))
	owner := testkit.OpenStore(t, testkit.RLSDatabaseURL(t))
	for _, table := range []string{"users", "organizations", "org_memberships", "entity_heads"} {
		edit(t, owner, "ALTER TABLE "+table+" SET (autovacuum_enabled = off)") // it would change plans
	}
	worker, _ := workerOf(t, owner)
	statements := &texts{all: map[string]bool{}}
	traced, err := worker.Traced(t.Context(), statements)
	require.NoError(t, err)
	defer traced.Close()
	n := len(history) - 3
	for entries := range slices.Chunk(entriesOf(history[:n]), 50) {
		apply(t, traced, entries)
	}
	for _, e := range history[n:] {
		batch(t, traced, e)
	}
	_, _, err = traced.LiveAfter(t.Context(), clerk.KindMembership, "", 10)
	require.NoError(t, err)
	_, err = traced.Show(t.Context(), clerk.KindUser, "user_a")
	require.NoError(t, err)
	require.Equal(t, testkit.InOrder(t, testkit.Store(t), history), testkit.Tables(t, worker))

	edit(t, owner, "ANALYZE")
	bound := map[string][]string{}
	for statement := range statements.all {
		if name, ok := strings.CutPrefix(statement, "-- name: "); ok { // not BEGIN and the like
			bound[strings.Fields(name)[0]] = planOf(t, worker, statement)
		}
	}
	_, err = owner.RemoveRLS(t.Context())
	require.NoError(t, err)
	for statement := range statements.all {
		if name, ok := strings.CutPrefix(statement, "-- name: "); ok {
			require.Equal(t, planOf(t, worker, statement), bound[strings.Fields(name)[0]], statement)
		}
	}
	require.Subset(t, slices.Collect(maps.Keys(bound)), []string{
		"UserUpsertMany", "OrganizationUpsertMany", "MembershipUpsertMany", "MembershipDeleteMany", "MembershipDeleteSupersededMany",
		"UserEmailFindMany", "UserEmailRelease", "UserEmailGrant", "MembershipLiveList", "RowGetMany",
	})
}

// planOf returns the plan of a statement for any parameters.
func planOf(t *testing.T, s *store.Store, statement string) []string {
	t.Helper()
	var plan []string
	require.NoError(t, s.Pool().AcquireFunc(t.Context(), func(conn *pgxpool.Conn) error {
		var parameters int
		if _, err := conn.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan; PREPARE p AS "+statement); err != nil {
			return err
		}
		if err := conn.QueryRow(t.Context(), "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'p'").Scan(&parameters); err != nil {
			return err
		}
		execute := "EXECUTE p"
		if parameters > 0 {
			execute += "(" + strings.TrimPrefix(strings.Repeat(", NULL", parameters), ", ") + ")"
		}
		rows, err := conn.Query(t.Context(), "EXPLAIN (COSTS OFF) "+execute, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		if plan, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		_, err = conn.Exec(t.Context(), "DEALLOCATE p")
		return err
	}))
	return plan
}

// TestWorkerThatInheritsTheReader fails loudly, and changes nothing: rows that it does not
// see would be rows that it does not delete.
func TestWorkerThatInheritsTheReader(t *testing.T) {
	t.Parallel()
	owner := testkit.OpenStore(t, testkit.RLSDatabaseURL(t))
	worker, role := workerOf(t, owner)
	batch(t, worker, userAt(1, "user_1", addressA), userAt(1, "user_2", addressB), joinedAt(1, "orgmem_1"))
	before := testkit.Tables(t, owner)

	edit(t, owner, "GRANT clerk_reader TO "+role)
	worker.Pool().Reset() // a session keeps its prepared statements as they were
	for what, e := range map[string]*clerk.Event{
		"insert": userAt(1, "user_3", ""), "update": userAt(2, "user_1", addressA), "organization": orgAt(2, "org_1"),
		"delete": leftAt(2, "orgmem_1", 1), "delete by id": leftBareAt(2, "orgmem_1"), "freed address": userAt(2, "user_2", ""),
	} {
		_, err := worker.Apply(t.Context(), []store.Entry{entry(e)})
		require.ErrorContains(t, err, role+" inherits the role clerk_reader, which never writes the synced tables; run: REVOKE clerk_reader FROM "+
			role+"; ALTER ROLE "+role+" NOINHERIT; GRANT clerk_reader TO "+role+" (SQLSTATE 42501)", what)
		require.NotErrorIs(t, err, store.ErrRefused, what)
	}
	require.Equal(t, before, testkit.Tables(t, owner))

	edit(t, owner, fmt.Sprintf("REVOKE clerk_reader FROM %s; ALTER ROLE %[1]s NOINHERIT; GRANT clerk_reader TO %[1]s", role))
	worker.Pool().Reset()
	require.Equal(t, []store.Outcome{store.Applied}, batch(t, worker, leftAt(2, "orgmem_1", 1)))
	readAs(t, worker, "clerk_reader", map[string]string{"clerk.user_id": "user_2"}, func(tx pgx.Tx) {
		require.Equal(t, []string{"(user_2)"}, list(t, tx, "SELECT clerk_id FROM users"))
	})
	require.Len(t, users(t, worker), 2)
}

// TestOthersReadWhatTheyDid: roles of an application, with grants of their own, through
// tables and views; and a verify, which compares with tables of its own.
func TestOthersReadWhatTheyDid(t *testing.T) {
	t.Parallel()
	owner := testkit.OpenStore(t, testkit.RLSDatabaseURL(t))
	batch(t, owner, userAt(1, "user_1", addressA), userAt(1, "user_2", addressB), joinedAt(1, "orgmem_1"), userDeletedAt(1, "user_3"))
	app := roleFor(t, owner, "app", "GRANT USAGE ON SCHEMA clerk TO %[1]s; GRANT SELECT ON ALL TABLES IN SCHEMA clerk TO %[1]s")
	readAs(t, owner, app, map[string]string{"clerk.user_id": "user_1"}, func(tx pgx.Tx) {
		for query, want := range map[string]int{
			"SELECT clerk_id, raw FROM users": 3, "SELECT clerk_id FROM active_users": 2, "SELECT clerk_id FROM organizations": 1,
			"SELECT clerk_id FROM active_organizations": 1, "SELECT clerk_id FROM org_memberships": 1,
		} {
			require.Len(t, list(t, tx, query), want, query)
		}
	})
	readAs(t, owner, app, nil, func(tx pgx.Tx) {
		_, err := tx.Exec(t.Context(), "SELECT current_user_id()")
		require.ErrorContains(t, err, "permission denied for function current_user_id")
	})

	worker, role := workerOf(t, owner)
	edit(t, owner, fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s", owner.Pool().Config().ConnConfig.Database, role))
	scratch, drop, err := worker.CreateScratch(t.Context())
	require.NoError(t, err)
	apply(t, scratch, entriesOf([]*clerk.Event{userAt(1, "user_1", addressA), userAt(1, "user_2", addressB), joinedAt(1, "orgmem_1"), userDeletedAt(1, "user_3")}))
	require.Empty(t, differences(t, worker, scratch))
	require.NoError(t, drop(t.Context()))
}

// TestRolesOfTheDeployment: with deploy/postgres/roles.sql the owner may turn row-level
// security on, and the login of serve writes all rows and reads as clerk_reader.
func TestRolesOfTheDeployment(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	admin := testkit.OpenStore(t, server("", "postgres"))
	roles := func() {
		psql := exec.Command("psql", "--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", "-d", server("", "postgres"), "-f", "../../deploy/postgres/roles.sql")
		out, err := psql.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	roles()
	edit(t, admin, "ALTER ROLE clerksync PASSWORD 'secret'; ALTER ROLE clerksync_owner PASSWORD 'secret'")
	owner, worker := testkit.OpenStore(t, server("clerksync_owner", "postgres")), testkit.OpenStore(t, server("clerksync", "postgres"))
	_, err := owner.Migrate(t.Context(), store.RLS)
	require.NoError(t, err)
	roles()

	require.NoError(t, worker.CheckMigrated(t.Context()))
	batch(t, worker, userAt(1, "user_1", addressA), userAt(1, "user_2", addressB), joinedAt(1, "orgmem_1"))
	require.Equal(t, []store.Outcome{store.Applied}, batch(t, worker, leftAt(2, "orgmem_1", 1)))
	require.Empty(t, members(t, owner))
	require.Len(t, users(t, worker), 2)
	readAs(t, worker, "clerk_reader", map[string]string{"clerk.user_id": "user_2"}, func(tx pgx.Tx) {
		require.Equal(t, []string{"(user_2)"}, list(t, tx, "SELECT clerk_id FROM users"))
	})
	for _, table := range []string{"clerksync_migrations", "clerksync_rls_migrations"} {
		_, err := worker.Pool().Exec(t.Context(), "DELETE FROM "+table)
		require.ErrorContains(t, err, "permission denied for table "+table)
	}
	edit(t, admin, "DROP OWNED BY clerk_reader; DROP ROLE clerk_reader")
	worker.Pool().Reset()
	batch(t, worker, userAt(3, "user_2", "")) // goes on
}
