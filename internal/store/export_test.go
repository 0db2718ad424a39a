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
	pool, err := newPool(ctx, config, s.pool.settings())
	return &Store{pool: pool, q: s.q, schema: s.schema}, err
}

// RewriteQueries has a reader send other queries than it means to.
func RewriteQueries(r *Reader, rewrite func(sql string) string) { r.testOnlyRewrite = rewrite }

// Pool returns the pool of a reader.
func (r *Reader) Pool() *pgxpool.Pool { return r.pool.Pool }

// Handle returns how a store sends its statements.
func Handle(s *Store) *pool { return s.pool }

// ReaderHandle returns how a reader sends its statements.
func ReaderHandle(r *Reader) *pool { return r.pool }

// Break ends the connection of a lock, as the end of its process does.
func Break(l *ReconcileLock) { _ = l.conn.PgConn().Conn().Close() }
