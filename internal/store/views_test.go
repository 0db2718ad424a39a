package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

// TestViewsNeedTheRightsOnTheirTables: every view refuses a role that may read it but
// not the table below.
func TestViewsNeedTheRightsOnTheirTables(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	exec := func(format string, v ...any) {
		_, err := s.Pool().Exec(context.Background(), fmt.Sprintf(format, v...))
		require.NoError(t, err)
	}
	role := "reader_" + s.Pool().Config().ConnConfig.Database
	exec("CREATE ROLE %s; GRANT USAGE ON SCHEMA clerk TO %[1]s", role)
	t.Cleanup(func() { exec("DROP OWNED BY %s; DROP ROLE %[1]s", role) })
	read := func(view string) error {
		return pgx.BeginFunc(t.Context(), s.Pool(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE "+role); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), "SELECT * FROM "+view)
			return err
		})
	}
	tables := map[string]string{
		"active_users": "users", "active_organizations": "organizations", "sync_lag": "sync_status", "entity_freshness": "entity_heads",
	}
	rows, err := s.Pool().Query(t.Context(), "SELECT viewname::text FROM pg_views WHERE schemaname = 'clerk'")
	require.NoError(t, err)
	views, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Len(t, views, len(tables))
	for _, view := range views {
		exec("GRANT SELECT ON %s TO %s", view, role)
		require.ErrorContains(t, read(view), "permission denied for table "+tables[view])
		exec("GRANT SELECT ON %s TO %s", tables[view], role)
		require.NoError(t, read(view), view)
	}
}
