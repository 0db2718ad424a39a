package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Traced returns a store on the same database whose statements t traces.
func (s *Store) Traced(ctx context.Context, t pgx.QueryTracer) (*Store, error) {
	config := s.pool.Config()
	config.ConnConfig.Tracer = t
	pool, err := pgxpool.NewWithConfig(ctx, config)
	return &Store{pool: pool, q: s.q, schema: s.schema}, err
}

// RewriteQueries has a reader send other queries than it means to.
func RewriteQueries(r *Reader, rewrite func(sql string) string) { r.testOnlyRewrite = rewrite }

// Pool returns the pool of a reader.
func (r *Reader) Pool() *pgxpool.Pool { return r.pool }
