package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/clerksync/clerksync/internal/store/db"
)

// roundTrip collects statements to send them in one round trip. sqlc's methods take it as
// their database: an :exec is queued, and so is a :batchmany, whose rows are read after
// send. Any other would use the embedded nil.
type roundTrip struct {
	db.DBTX
	queued  pgx.Batch
	results pgx.BatchResults // after send
}

// Exec queues a statement.
func (p *roundTrip) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	p.queued.Queue(sql, args...)
	return pgconn.CommandTag{}, nil
}

// SendBatch queues statements.
func (p *roundTrip) SendBatch(_ context.Context, b *pgx.Batch) pgx.BatchResults {
	p.queued.QueuedQueries = append(p.queued.QueuedQueries, b.QueuedQueries...)
	return &section{trip: p}
}

// send sends the statements on a connection, which can be used again after close. Results
// must be read in the order of the statements.
func (p *roundTrip) send(ctx context.Context, conn interface {
	SendBatch(context.Context, *pgx.Batch) pgx.BatchResults
},
) {
	p.results = conn.SendBatch(ctx, &p.queued)
}

// close reads the results that are left and returns the first error.
func (p *roundTrip) close() error { return p.results.Close() }

// section is the part of a round trip's results that belongs to one :batchmany.
type section struct {
	pgx.BatchResults // nil
	trip             *roundTrip
}

// Query reads the rows of the next statement.
func (s *section) Query() (pgx.Rows, error) { return s.trip.results.Query() }

// Close does nothing: the results of other statements follow.
func (s *section) Close() error { return nil }

// only returns the one argument of a :batchmany that is queued once.
func only[T any](arg *T) []*T { return []*T{arg} }

// collect returns a function that takes the rows of a :batchmany that was queued once.
func collect[T any](rows *[]T, err *error) func(int, []T, error) {
	return func(_ int, read []T, readErr error) {
		*rows = read
		if *err == nil {
			*err = readErr
		}
	}
}
