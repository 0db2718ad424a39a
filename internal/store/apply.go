package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Outcome says what applying an event did.
type Outcome string

// The outcomes. The projector decides Ignored and Dead; the five belong together.
const (
	Applied   Outcome = "applied"
	Stale     Outcome = "stale"     // the head has a newer version
	Duplicate Outcome = "duplicate" // the head has this version
	Ignored   Outcome = "ignored"   // events of this type are not synced
	Dead      Outcome = "dead"      // it can never be applied
)

// Outcomes lists them all.
var Outcomes = []Outcome{Applied, Stale, Duplicate, Ignored, Dead}

// Entry is a change and its position in the log.
type Entry struct {
	Change *clerk.Change
	Seq    uint64 // sequence in the log
}

func (e Entry) key() key { return key{e.Change.Kind, e.Change.ID} }

// Apply applies changes in one transaction and returns the outcome of each. It is
// idempotent, and the order of the changes does not matter.
//
// The error is [ErrRefused] when PostgreSQL refuses the content of a change; any other
// error is temporary. On an error nothing was changed.
func (s *Store) Apply(ctx context.Context, entries []Entry) ([]Outcome, error) {
	return s.apply(ctx, newBatch(entries, false))
}

// Reapply is Apply that also writes the rows of versions equal to the head: for a
// projection whose code changed.
func (s *Store) Reapply(ctx context.Context, entries []Entry) ([]Outcome, error) {
	return s.apply(ctx, newBatch(entries, true))
}

func (s *Store) apply(ctx context.Context, b *batch) ([]Outcome, error) {
	if len(b.entries) == 0 {
		return nil, nil
	}
	return s.commit(ctx, "apply batch", b)
}

// commit applies a batch.
func (s *Store) commit(ctx context.Context, doing string, b *batch) ([]Outcome, error) {
	var outcomes []Outcome
	err := s.transact(ctx, b, func(conn *pgxpool.Conn, d *decision) error {
		outcomes = d.outcomes
		return s.write(ctx, conn, d, true)
	})
	if err != nil {
		return nil, wrap(doing, err)
	}
	return outcomes, nil
}

// maxCollisions bounds how often a batch is begun again because another one gave an address
// to a user at the same time, or waits for an address that this one releases. Twice in a row
// is rare: only a trigger that changes addresses comes this far.
const maxCollisions = 5

// transact begins a transaction, locks what a batch is about, decides, and calls f, which
// ends the transaction. All that takes two round trips, and two more when it begins again:
//
//  1. lock: the heads, in one order, and then what stands in the tables;
//  2. write: heads and rows, and the commit.
//
// Between the two, decide is a function of what was read.
func (s *Store) transact(ctx context.Context, b *batch, f func(*pgxpool.Conn, *decision) error) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	for collisions := 0; ; {
		var d *decision
		found, err := s.lock(ctx, conn, b)
		if err == nil {
			d, err = b.decide(found)
		}
		if err == nil {
			err = f(conn, d)
		}
		if conn.Conn().PgConn().TxStatus() != 'I' {
			_, _ = conn.Exec(ctx, "rollback") // when that fails, Release closes the connection
		}
		switch {
		case errors.Is(err, errMoreLocks): // the set grows, or another batch was committed
		case (collides(err) || deadlocked(err)) && collisions < maxCollisions:
			collisions++
		default:
			return err
		}
	}
}
