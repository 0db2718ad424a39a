//go:build pgbouncer

package store_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// ignored has PgBouncer drop what it would refuse, so that its clients do not notice.
const ignored = "ignore_startup_parameters = extra_float_digits,options,search_path,statement_timeout,clerksync.session"

// TestAppliesBehindAPooler: the rows are those of the history in order, whatever session a
// transaction gets, and no session is left with a setting or a prepared statement of ours.
func TestAppliesBehindAPooler(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string]string{"strict": "", "lenient": ignored} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			direct := testkit.DatabaseURL(t)
			pooled := testkit.PgBouncer(t, direct, lines)
			s := testkit.OpenStore(t, pooled+"&pgbouncer=true")
			history := testkit.ManyHistories(6)
			want := testkit.InOrder(t, testkit.Store(t), history)
			rand.Shuffle(len(history), func(i, j int) { history[i], history[j] = history[j], history[i] })
			var batches [][]store.Entry
			for seq, e := range history {
				if seq%7 == 0 {
					batches = append(batches, nil)
				}
				last := &batches[len(batches)-1]
				*last = append(*last, store.Entry{Change: testkit.Change(e), Seq: uint64(seq + 1)})
			}
			inWorkers(t, s, 4, batches)
			require.Equal(t, want, testkit.Tables(t, testkit.OpenStore(t, direct)))

			inspected, err := s.Inspect(t.Context())
			require.NoError(t, err)
			require.Equal(t, "clerk", inspected.Schema)
			require.Empty(t, inspected.Missing)
			_, _, err = s.Plan(t.Context(), batches[0], true)
			require.NoError(t, err)
			_, _, err = s.LiveAfter(t.Context(), clerk.KindUser, "", 10)
			require.NoError(t, err)
			_, err = s.Show(t.Context(), clerk.KindUser, "user_1")
			require.NoError(t, err)
			require.NoError(t, s.RecordLog(t.Context(), store.LogFloor{ID: "log"}, nil))
			forgot, err := s.ForgetLog(t.Context())
			require.NoError(t, err)
			require.True(t, forgot)

			// What another program finds in the sessions.
			other, err := pgx.Connect(t.Context(), pooled)
			require.NoError(t, err)
			defer other.Close(context.Background())
			for range 4 {
				var path, seqscan, timeout string
				var prepared int
				require.NoError(t, other.QueryRow(t.Context(), `SELECT current_setting('search_path'), current_setting('enable_seqscan'),
					current_setting('statement_timeout'), (SELECT count(*) FROM pg_prepared_statements WHERE name <> '')`, pgx.QueryExecModeExec).Scan(&path, &seqscan, &timeout, &prepared))
				require.Equal(t, []any{`"$user", public`, "on", "0", 0}, []any{path, seqscan, timeout, prepared})
			}
		})
	}
}

// TestSettingsBehindAPooler hold for every statement, and URLs may have more of them.
func TestSettingsBehindAPooler(t *testing.T) {
	t.Parallel()
	pooled := testkit.PgBouncer(t, testkit.DatabaseURL(t), "")
	s := testkit.OpenStore(t, pooled+"&statement_timeout=7s&work_mem=5MB")
	ctx := t.Context()
	want := []string{`"clerk"`, "7s", "off", "5MB"}
	read := func(row pgx.Row) {
		t.Helper()
		got := make([]string, len(want))
		require.NoError(t, row.Scan(&got[0], &got[1], &got[2], &got[3]))
		require.Equal(t, want, got)
	}
	const query = "SELECT current_setting('search_path'), current_setting('statement_timeout'), current_setting('enable_seqscan'), current_setting('work_mem')"
	for range 3 {
		read(store.Handle(s).QueryRow(ctx, query))
		require.NoError(t, pgx.BeginFunc(ctx, store.Handle(s), func(tx pgx.Tx) error {
			read(tx.QueryRow(ctx, query))
			return nil
		}))
	}
	_, err := store.Handle(s).Exec(ctx, "SELECT nothing")
	require.ErrorContains(t, err, "42703")
	require.ErrorContains(t, store.Handle(s).QueryRow(ctx, "SELECT 1 WHERE false").Scan(new(int)), "no rows")

	r := openReader(t, pooled)
	require.NoError(t, r.Check(ctx))
	var readOnly string
	require.NoError(t, store.ReaderHandle(r).QueryRow(ctx, "SELECT current_setting('transaction_read_only')").Scan(&readOnly))
	require.Equal(t, "on", readOnly)
	_, err = store.ReaderHandle(r).Exec(ctx, "DELETE FROM users")
	require.ErrorContains(t, err, "read-only transaction")
}

// TestReadsBehindAPooler: with row-level security, on behalf of one user after the other.
func TestReadsBehindAPooler(t *testing.T) {
	t.Parallel()
	direct := testkit.RLSDatabaseURL(t)
	batch(t, testkit.OpenStore(t, direct), userAt(1, "user_1", addressA), userAt(1, "user_2", addressB), joinedAt(1, "orgmem_1"))
	r := openReader(t, testkit.PgBouncer(t, direct, ""))
	for i := range 12 {
		user := fmt.Sprint("user_", 1+i%2)
		p, err := r.Profile(t.Context(), store.Viewer{UserID: user, OrgID: "org_1", Claims: fmt.Appendf(nil, `{"sub":%q,"org_id":"org_1"}`, user)})
		require.NoError(t, err)
		require.Equal(t, user, p.ID)
		members, allowed, err := r.Members(t.Context(), store.Viewer{UserID: user, OrgID: "org_1", Claims: fmt.Appendf(nil, `{"sub":%q,"org_id":"org_1"}`, user)}, store.Members{Most: 10, Search: "a"})
		require.NoError(t, err)
		require.Equal(t, user == "user_1", allowed, members)
		other, err := r.Profile(t.Context(), store.Viewer{UserID: user, Claims: []byte(`{"sub":"user_3"}`)})
		require.NoError(t, err)
		require.Nil(t, other, "the policies bind it")
	}
}

// TestCommitFailsBehindAPooler: PostgreSQL reports a statement as done before it commits it.
// An error of the commit is the statement's, as it is without a pooler.
func TestCommitFailsBehindAPooler(t *testing.T) {
	t.Parallel()
	direct := testkit.DatabaseURL(t)
	db := store.Handle(testkit.OpenStore(t, testkit.PgBouncer(t, direct, "")))
	_, err := db.Exec(t.Context(), "CREATE TABLE once (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
	require.NoError(t, err)
	const twice = "INSERT INTO once VALUES ($1), ($1) RETURNING n"
	_, err = db.Exec(t.Context(), twice, 1)
	require.ErrorContains(t, err, "once_n_key", "Exec")
	var n int
	require.ErrorContains(t, db.QueryRow(t.Context(), twice, 2).Scan(&n), "once_n_key", "QueryRow")
	rows, err := db.Query(t.Context(), twice, 3)
	require.NoError(t, err)
	_, err = pgx.CollectRows(rows, pgx.RowTo[int])
	require.ErrorContains(t, err, "once_n_key", "Query")
	require.NoError(t, db.QueryRow(t.Context(), "SELECT count(*) FROM once").Scan(&n))
	require.Zero(t, n)
}

// TestLocksBehindAPooler are held by one process, and free when it closes or dies.
func TestLocksBehindAPooler(t *testing.T) {
	t.Parallel()
	direct := testkit.DatabaseURL(t)
	pooled := testkit.PgBouncer(t, direct, "default_pool_size = 5\nidle_transaction_timeout = 0")
	one, other := testkit.OpenStore(t, pooled+"&idle_in_transaction_session_timeout=500ms"), testkit.OpenStore(t, pooled)
	b, err := one.OpenBackfill(t.Context())
	require.NoError(t, err)
	lock := one.ReconcileLock()
	held, err := lock.Take(t.Context())
	require.NoError(t, err)
	require.True(t, held)
	watch := testkit.OpenStore(t, direct)
	testkit.Eventually(t, "longer than a transaction may be idle", func() (bool, any) {
		var idle time.Duration
		err := watch.Pool().QueryRow(t.Context(), `SELECT coalesce(min(now() - state_change), '0') FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'idle in transaction'`).Scan(&idle)
		return err == nil && idle > time.Second, fmt.Sprint(idle, err)
	})
	for range 3 { // of the other session, too
		_, err = other.OpenBackfill(t.Context())
		require.ErrorIs(t, err, store.ErrBackfillRuns)
		taken, err := other.ReconcileLock().Take(t.Context())
		require.NoError(t, err)
		require.False(t, taken)
	}
	require.NoError(t, b.Start(t.Context(), &store.BackfillRun{InstanceID: "ins_1", LogID: "log", StartedAt: time.Now(), Segments: []*store.BackfillSegment{{Kind: clerk.KindUser, Position: []byte("{}")}}}))
	run, err := b.Run(t.Context())
	require.NoError(t, err)
	require.Len(t, run.Segments, 1)
	held, err = lock.Take(t.Context())
	require.NoError(t, err)
	require.True(t, held, "still")
	require.NoError(t, b.Close())
	require.NoError(t, lock.Close())
	b, err = other.OpenBackfill(t.Context())
	require.NoError(t, err)
	lock = other.ReconcileLock()
	held, err = lock.Take(t.Context())
	require.NoError(t, err)
	require.True(t, held)

	store.Break(lock)
	testkit.Eventually(t, "the lock of a process that died is free", func() (bool, any) {
		next := one.ReconcileLock()
		taken, err := next.Take(t.Context())
		if taken {
			err = next.Close()
		}
		return taken, err
	})
	require.NoError(t, b.Close())
}

// TestMigrateBehindAPooler needs a session, unless there is nothing to do.
func TestMigrateBehindAPooler(t *testing.T) {
	t.Parallel()
	for name, lines := range map[string]string{"strict": "", "lenient": ignored} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const fix = ": DATABASE_URL leads to a pooler, and this needs a session: name PostgreSQL's own address for it (of Supabase's, port 5432 in place of 6543)"
			s := testkit.OpenStore(t, testkit.PgBouncer(t, testkit.EmptyDatabaseURL(t), lines))
			require.ErrorIs(t, s.CheckMigrated(t.Context()), store.ErrPending)
			_, err := s.Migrate(t.Context())
			require.EqualError(t, err, "migrate"+fix)
			require.True(t, store.Permanent(err))
			all, err := s.Migrations(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, all)

			s = testkit.OpenStore(t, testkit.PgBouncer(t, testkit.DatabaseURL(t), lines))
			applied, err := s.Migrate(t.Context())
			require.NoError(t, err)
			require.Empty(t, applied)
			_, err = s.Migrate(t.Context(), store.RLS)
			require.EqualError(t, err, "migrate"+fix)
			_, _, err = s.CreateScratch(t.Context())
			require.EqualError(t, err, "make the scratch tables"+fix)
			all, err = s.Migrations(t.Context())
			require.NoError(t, err)
			require.False(t, all[len(all)-1].AppliedAt.IsZero())
		})
	}
}

// TestProxyIsNoPooler, though it makes up the id of the process, as a provider's may: it
// passes on the rest, and keeps the session.
func TestProxyIsNoPooler(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testkit.EmptyDatabaseURL(t))
	require.NoError(t, err)
	u.Host, u.RawQuery = renumber(t, u.Host), "sslmode=disable"
	s := testkit.OpenStore(t, u.String())
	_, err = s.Migrate(t.Context())
	require.NoError(t, err)
	batch(t, s, userAt(1, "user_1", addressA))
	var prepared int
	require.NoError(t, s.Pool().QueryRow(t.Context(), "SELECT count(*) FROM pg_prepared_statements").Scan(&prepared))
	require.Positive(t, prepared)
	_, drop, err := s.CreateScratch(t.Context())
	require.NoError(t, err)
	require.NoError(t, drop(t.Context()))
}

// renumber starts a proxy that changes the id in a server's greeting.
func renumber(t *testing.T, target string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-ended })
	go func() {
		defer close(ended)
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); server.Close() }()
			go func() {
				defer client.Close()
				for out := pgproto3.NewFrontend(server, nil); ; {
					m, err := out.Receive()
					if err != nil {
						return
					}
					if key, ok := m.(*pgproto3.BackendKeyData); ok {
						key.ProcessID++
					}
					raw, err := m.Encode(nil)
					if _, e := client.Write(raw); err != nil || e != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// TestRoundTripsOfALoneEvent: two, on a connection that is there, and behind a pooler too.
func TestRoundTripsOfALoneEvent(t *testing.T) {
	t.Parallel()
	direct := testkit.DatabaseURL(t)
	for _, u := range []string{direct, testkit.PgBouncer(t, direct, "")} {
		var trips []int
		before := beforeRoundTrip(func(n int) { trips = append(trips, n) })
		s, err := testkit.OpenStore(t, u).Traced(t.Context(), &before)
		require.NoError(t, err)
		t.Cleanup(s.Close)
		for i, user := range []string{"user_1", "user_2", "user_3"} {
			trips = nil
			batch(t, s, userAt(int64(i), user, strings.Replace(addressA, "@", user+"@", 1)))
			require.Equal(t, []int{1, 2}, trips)
		}
	}
}
