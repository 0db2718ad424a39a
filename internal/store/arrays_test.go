package store_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestArraysOfAnInsertAreEquallyLong: unnest fills a shorter array up with NULLs, so that
// a column whose array is forgotten would be NULL in every row, or refuse every event.
func TestArraysOfAnInsertAreEquallyLong(t *testing.T) {
	t.Parallel()
	inserts := lengths{}
	s, err := testkit.Store(t).Traced(t.Context(), inserts)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	for at := range int64(2) { // of what is not there, and of what is
		_, err = s.Apply(t.Context(), mixedBatch(0, 100, 1+at))
		require.NoError(t, err)
	}
	for statement, arrays := range inserts {
		for _, n := range arrays {
			require.Equal(t, arrays[0], n, "%s: lengths of the arrays %v", statement, arrays)
		}
	}
	require.Len(t, inserts, 3+len(clerk.Kinds()), "inserts of missing heads and of others, of seats, and into the table of every kind")
}

// lengths are those of the arrays that every INSERT of a batch is given.
type lengths map[string][]int

func (l lengths) TraceBatchStart(ctx context.Context, _ *pgx.Conn, b pgx.TraceBatchStartData) context.Context {
	for _, q := range b.Batch.QueuedQueries {
		if !strings.Contains(q.SQL, "INSERT INTO ") {
			continue
		}
		name := strings.Fields(q.SQL)[2] // -- name: UserUpsertMany :exec
		l[name] = nil
		for _, arg := range q.Arguments {
			if v := reflect.ValueOf(arg); v.Kind() == reflect.Slice {
				l[name] = append(l[name], v.Len())
			}
		}
	}
	return ctx
}

func (l lengths) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (l lengths) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (l lengths) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (l lengths) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
