package store

import (
	"cmp"
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/clerksync/clerksync/internal/store/db"
)

// pipeline is the handle of one query. It sends the query together with the statements
// that Exec was given before: in one round trip and one implicit transaction, so that what
// they set ends with it, behind a pooler as well.
type pipeline struct {
	db.DBTX // nil
	pool    *pgxpool.Pool
	batch   pgx.Batch
	rewrite func(sql string) string // nil but in tests
}

// Exec keeps a statement. Its error is that of the query.
func (p *pipeline) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	p.batch.Queue(sql, args...)
	return pgconn.CommandTag{}, nil
}

// Query sends everything.
func (p *pipeline) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if p.rewrite != nil {
		sql = p.rewrite(sql)
	}
	before := p.batch.Len()
	if before == 0 {
		return p.pool.Query(ctx, sql, args...)
	}
	p.batch.Queue(sql, args...)
	results := p.pool.SendBatch(ctx, &p.batch)
	for range before {
		if _, err := results.Exec(); err != nil {
			results.Close() // returns the same error
			return nil, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		results.Close()
		return nil, err
	}
	return &pipelineRows{Rows: rows, results: results}, nil
}

// QueryRow sends everything, for a query of one row.
func (p *pipeline) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	rows, err := p.Query(ctx, sql, args...)
	return &pipelineRow{rows, err}
}

// pipelineRows return the connection when they end or are closed.
type pipelineRows struct {
	pgx.Rows
	results pgx.BatchResults
	err     error // of the commit, which follows the last row
}

// Next closes the rows after the last one.
func (r *pipelineRows) Next() bool {
	if r.Rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Close ends the transaction and returns the connection.
func (r *pipelineRows) Close() {
	r.Rows.Close()
	if err := r.results.Close(); r.err == nil {
		r.err = err
	}
}

// Err returns the error of the query, or of the commit.
func (r *pipelineRows) Err() error { return cmp.Or(r.Rows.Err(), r.err) }

// pipelineRow is the row of a query that returns one.
type pipelineRow struct {
	rows pgx.Rows
	err  error
}

// Scan reads the row. Without one the error is [pgx.ErrNoRows].
func (r *pipelineRow) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		return cmp.Or(r.rows.Err(), pgx.ErrNoRows)
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}
