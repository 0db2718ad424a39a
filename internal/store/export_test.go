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
