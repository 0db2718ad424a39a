package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestBatchReadsNoMoreThanItTouches: a batch finds its rows by key, in tables that
// were never analyzed, with the plans of prepared statements that were made while
// the tables were empty, small, or as large as they are.
func TestBatchReadsNoMoreThanItTouches(t *testing.T) {
	t.Parallel()
	url := testkit.DatabaseURL(t)
	connection := func() *store.Store { // one connection: the plans are its own
		s, err := store.Open(t.Context(), store.Options{URL: url, Schema: "clerk", MaxConns: 1})
		require.NoError(t, err)
		t.Cleanup(s.Close)
		return s
	}
	empty, small, large := connection(), connection(), connection()
	for _, table := range []string{"entity_heads", "seats", "users", "organizations", "org_memberships"} {
		_, err := large.Pool().Exec(t.Context(), "ALTER TABLE "+table+" SET (autovacuum_enabled = off)")
		require.NoError(t, err)
	}

	const size = 500
	warmUp := func(s *store.Store, first, n int) {
		for i := range 8 { // after five times PostgreSQL keeps a plan
			entries := mixedBatch(first+i*n, n, 1)
			apply(t, s, entries)
			apply(t, s, entries[:n/2]) // loses
		}
	}
	warmUp(empty, 1_000_000, 8)
	warmUp(small, 2_000_000, 64)
	fill(t, url, 20_000)
	warmUp(large, 3_000_000, 64)

	for i, s := range []*store.Store{empty, small, large} {
		entries := mixedBatch(i*1000, size, 1)
		for round, outcome := range []store.Outcome{store.Applied, store.Duplicate} {
			before := readings(t, s)
			for _, got := range apply(t, s, entries) {
				require.Equal(t, outcome, got)
			}
			after := readings(t, s)
			what := fmt.Sprintf("%s with plans of %s tables", outcome, []string{"empty", "small", "large"}[i])
			delta := after.minus(before)
			t.Logf("round %d: %s: %+v", round, what, delta)
			require.Zero(t, delta.seqRows, "%s: rows read by scanning a table", what)
			// Users who take the addresses of others have the batch begin again, once.
			require.Less(t, delta.indexRows, int64(15*size), "%s: rows fetched by index", what)
			require.Less(t, delta.blocks, int64(80*size), "%s: blocks", what)
		}
	}
}

// reading is what was read of all tables.
type reading struct{ seqRows, indexRows, blocks int64 }

func (r reading) minus(other reading) reading {
	return reading{r.seqRows - other.seqRows, r.indexRows - other.indexRows, r.blocks - other.blocks}
}

func readings(t *testing.T, s *store.Store) reading {
	t.Helper()
	_, err := s.Pool().Exec(t.Context(), "SELECT pg_stat_force_next_flush()") // of this connection, which is the only one
	require.NoError(t, err)
	var r reading
	require.NoError(t, s.Pool().QueryRow(t.Context(), `
		SELECT sum(seq_tup_read)::bigint, sum(coalesce(idx_tup_fetch, 0))::bigint,
			sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0))::bigint
		FROM pg_stat_user_tables JOIN pg_statio_user_tables USING (relid)`).Scan(&r.seqRows, &r.indexRows, &r.blocks))
	return r
}

// mixedBatch returns n events on the users, organizations and memberships from
// first on: of everything that a batch can do something.
func mixedBatch(first, n int, at int64) []store.Entry {
	var events []*clerk.Event
	for i := first; len(events) < n; i++ {
		user, org, id := fmt.Sprint("user_", i), fmt.Sprint("org_", i), fmt.Sprint("orgmem_", i)
		switch i % 8 {
		case 0, 1, 2:
			events = append(events, userAt(at, user, user+"@example.com"))
		case 3: // takes the address of another
			events = append(events, userAt(at, user, fmt.Sprintf("user_%d@example.com", i+4)))
		case 4:
			events = append(events, userDeletedAt(at, user))
		case 5:
			events = append(events, orgAt(at, org))
		case 6:
			events = append(events, orgDeletedAt(at, org))
		case 7: // once more, made later
			events = append(events, testkit.Event(msg(id, at), "organizationMembership.created", base+at,
				testkit.MembershipData(id+"_again", user, org, "org:member", base+at, base+at)))
		}
	}
	return entriesOf(events)
}

// fill makes so many users, organizations and memberships, as they are at base.
func fill(t *testing.T, url string, n int) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	require.NoError(t, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SET search_path = clerk")
	require.NoError(t, err)
	now := time.UnixMilli(base)
	load := func(table string, columns []string, perEntity int, line func(i, k int) []any) {
		count, err := conn.CopyFrom(ctx, pgx.Identifier{table}, columns, pgx.CopyFromSlice(n*perEntity, func(at int) ([]any, error) {
			return line(at/perEntity, at%perEntity), nil
		}))
		require.NoError(t, err)
		require.EqualValues(t, n*perEntity, count)
	}
	user := func(i int) string { return fmt.Sprint("user_", i) }
	org := func(i int) string { return fmt.Sprint("org_", i) }
	member := func(i int) string { return fmt.Sprint("orgmem_", i) }
	load("users", []string{"id", "clerk_id", "email", "primary_email"}, 1, func(i, _ int) []any {
		return []any{clerk.UUID(user(i)), user(i), user(i) + "@example.com", user(i) + "@example.com"}
	})
	load("organizations", []string{"id", "clerk_id"}, 1, func(i, _ int) []any { return []any{clerk.UUID(org(i)), org(i)} })
	load("org_memberships", []string{"id", "clerk_id", "user_id", "org_id", "role", "created_at"}, 1, func(i, _ int) []any {
		return []any{clerk.UUID(member(i)), member(i), clerk.UUID(user(i)), org(i), "org:member", now}
	})
	load("seats", []string{"user_id", "org_id", "membership_id", "membership_created_at"}, 1, func(i, _ int) []any {
		return []any{user(i), org(i), member(i), now}
	})
	load("entity_heads", []string{"kind", "clerk_id", "deleted", "updated_at", "event_at", "event_id", "event_seq", "applied_at"}, 3, func(i, k int) []any {
		kind := []string{"user", "organization", "membership"}[k]
		id := []string{user(i), org(i), member(i)}[k]
		return []any{kind, id, false, now, now, "msg", 1, now}
	})
}
