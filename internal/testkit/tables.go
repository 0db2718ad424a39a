package testkit

import (
	"context"
	"testing"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
)

// tableQueries read every table in a fixed order, without the columns of a head that
// differ from run to run.
var tableQueries = []string{
	`SELECT 'user ' || to_jsonb(u)::text FROM users u ORDER BY clerk_id`,
	`SELECT 'organization ' || to_jsonb(o)::text FROM organizations o ORDER BY clerk_id`,
	`SELECT 'membership ' || to_jsonb(m)::text FROM org_memberships m ORDER BY clerk_id`,
	`SELECT 'seat ' || to_jsonb(s)::text FROM seats s ORDER BY user_id, org_id`,
	`SELECT 'head ' || (to_jsonb(h) - 'applied_at' - 'event_seq' - 'erased_at' - 'restored_at')::text FROM entity_heads h ORDER BY kind, clerk_id`,
}

// T is implemented by the tests of package testing and of rapid.
type T interface {
	Helper()
	Fatal(...any)
}

// Tables returns all rows of all tables, one line each.
func Tables(t T, s *store.Store) []string {
	t.Helper()
	var lines []string
	for _, query := range tableQueries {
		rows, err := s.Pool().Query(context.Background(), query)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line)
		}
		if rows.Err() != nil {
			t.Fatal(rows.Err())
		}
	}
	return lines
}

// Truncate empties all tables.
func Truncate(t T, s *store.Store) {
	t.Helper()
	if _, err := s.Pool().Exec(context.Background(), "TRUNCATE users, organizations, org_memberships, seats, entity_heads"); err != nil {
		t.Fatal(err)
	}
}

// InOrder applies a history once, in order, and returns the rows.
func InOrder(t testing.TB, s *store.Store, history []*clerk.Event) []string {
	t.Helper()
	Truncate(t, s)
	for i, e := range history {
		if _, err := s.Apply(context.Background(), []store.Entry{{Change: Change(e), Seq: uint64(i + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	return Tables(t, s)
}
