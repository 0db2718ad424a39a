package store_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

// beforeRoundTrip is called with the number of each round trip before it is made.
type beforeRoundTrip func(n int)

func (f *beforeRoundTrip) TraceBatchStart(ctx context.Context, _ *pgx.Conn, b pgx.TraceBatchStartData) context.Context {
	n := 1
	if b.Batch.QueuedQueries[0].SQL != "begin" {
		n = 2
	}
	(*f)(n)
	return ctx
}

func (*beforeRoundTrip) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*beforeRoundTrip) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
func (*beforeRoundTrip) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*beforeRoundTrip) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestApplyEndsWhilePostgreSQLHangs: its context ends between the two round trips, and no
// rollback is answered.
func TestApplyEndsWhilePostgreSQLHangs(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(testkit.DatabaseURL(t))
	require.NoError(t, err)
	proxy := testkit.NewProxy(t, u.Host)
	u.Host = proxy.Addr()
	ctx, cancel := context.WithCancel(t.Context())
	before := beforeRoundTrip(func(n int) {
		if n == 2 {
			proxy.Hang()
			cancel()
		}
	})
	s, err := testkit.OpenStore(t, u.String()).Traced(t.Context(), &before)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	t.Cleanup(proxy.Cut)
	ended := make(chan error, 1)
	go func() {
		_, err := s.Apply(ctx, entriesOf([]*clerk.Event{userAt(2, "user_1", addressA)}))
		ended <- err
	}()
	select {
	case err := <-ended:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(30 * time.Second):
		t.Fatal("Apply did not return")
	}
}

// TestCancelledApplyLeavesNoTransaction, whenever its context ends.
func TestCancelledApplyLeavesNoTransaction(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	for i := range 100 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*50*time.Microsecond)
		_, _ = s.Apply(ctx, entriesOf([]*clerk.Event{userAt(int64(i), "user_1", addressA), orgAt(int64(i), "org_1"), joinedAt(1, "orgmem_1")}))
		cancel()
	}
	testkit.Eventually(t, "no session in a transaction", func() (bool, any) {
		var n int
		err := s.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in%'`).Scan(&n)
		return err == nil && n == 0, n
	})
	batch(t, s, userAt(1000, "user_1", addressA))
}

// TestReleaseBeforeATakenAddress: a batch waits for an address that another one takes, and
// holds one that the other waits for. PostgreSQL ends one of them, and it begins again. The
// trigger only widens the gap.
func TestReleaseBeforeATakenAddress(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	edit(t, s, `CREATE FUNCTION clerk.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NEW; END';
		CREATE TRIGGER slow BEFORE INSERT ON clerk.users FOR EACH ROW WHEN (NEW.clerk_id = 'user_2') EXECUTE FUNCTION clerk.slow()`)
	moved := make(chan error, 1)
	begun := false
	before := beforeRoundTrip(func(n int) {
		if n != 2 || begun {
			return
		}
		begun = true
		batch(t, s, userAt(1, "user_h", addressB))
		go func() {
			var waits bool // in the trigger, with the first address
			for !waits {
				_ = s.Pool().QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')").Scan(&waits)
			}
			_, err := s.Apply(t.Context(), entriesOf([]*clerk.Event{userAt(2, "user_h", addressA)}))
			moved <- err
		}()
	})
	traced, err := s.Traced(t.Context(), &before)
	require.NoError(t, err)
	t.Cleanup(traced.Close)
	_, err = traced.Apply(t.Context(), entriesOf([]*clerk.Event{userAt(1, "user_1", addressA), userAt(1, "user_2", addressB)}))
	require.NoError(t, err)
	require.NoError(t, <-moved)
	require.Equal(t, map[string]string{"user_h": addressA, "user_2": addressB}, emailsOf(t, s))
}
