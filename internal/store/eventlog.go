package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/store/db"
)

// LogFloor is how far a worker has seen the event log settled.
type LogFloor struct {
	ID         string // identity of the log
	Settled    uint64 // every event up to this sequence is applied or parked, or has left the log
	Deliveries uint64 // that the consumer had counted then
}

// Passed is what lies between two observations of the log.
type Passed struct {
	Was       *db.EventLog // the former one
	Now       LogFloor
	Delivered uint64 // deliveries between the two
	First     uint64 // sequence of the first event that the log has now
}

// EventLog returns the log that the rows come from, nil before the first worker.
func (s *Store) EventLog(ctx context.Context) (*db.EventLog, error) {
	row, err := s.q.EventLogGet(ctx, s.pool)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return row, wrap("read event_log", err)
}

// RecordLog records the log that the rows come from, unless one is recorded, and events that
// were erased from it.
func (s *Store) RecordLog(ctx context.Context, now LogFloor, erased []uint64) error {
	return wrap("write event_log", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := s.q.EventLogCreate(ctx, tx, &db.EventLogCreateParams{LogID: now.ID, Settled: int64(now.Settled), Deliveries: int64(now.Deliveries)})
		if err != nil || len(erased) == 0 {
			return err
		}
		return s.q.EventLogErase(ctx, tx, numbers(erased))
	}))
}

// ForgetLog forgets the log that the rows come from, so that the next worker records its
// own. Deleted users are erased again: that they were erased is true of the former log.
// It returns false when none is recorded.
func (s *Store) ForgetLog(ctx context.Context) (bool, error) {
	var n int64
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
		if _, err := tx.Exec(ctx, "SET LOCAL statement_timeout = 0"); err != nil { // it may reset many marks
			return err
		}
		if n, err = s.q.EventLogForget(ctx, tx); err != nil {
			return err
		}
		return s.q.EraseAllAgain(ctx, tx)
	})
	return n > 0, wrap("forget the event log", err)
}

// ObserveLog records an observation of the log, and the events that are lost: those that
// the consumer passed and that were neither delivered nor erased. It returns the row that
// stands then; another worker may have recorded an observation since Was was read.
func (s *Store) ObserveLog(ctx context.Context, p Passed) (*db.EventLog, error) {
	var row *db.EventLog
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) (err error) {
		// Locked after the log was read: an erasure is noted before it removes events, so
		// all that the observation misses by one are among them.
		row, err = s.q.EventLogLock(ctx, tx)
		if err != nil || row.LogID != p.Was.LogID || row.Settled != p.Was.Settled || row.Deliveries != p.Was.Deliveries {
			return err
		}
		advance(row, p)
		return s.q.EventLogUpdate(ctx, tx, &db.EventLogUpdateParams{
			Settled: row.Settled, Deliveries: row.Deliveries, Erased: row.Erased,
			LostEvents: row.LostEvents, LostFrom: row.LostFrom, LostTo: row.LostTo, LostSince: row.LostSince,
		})
	})
	return row, wrap("write event_log", err)
}

// advance moves a row to an observation.
func advance(row *db.EventLog, p Passed) {
	was, settled := row.Settled, int64(p.Now.Settled)
	row.Settled, row.Deliveries = settled, int64(p.Now.Deliveries)
	noted := len(row.Erased)
	row.Erased = slices.DeleteFunc(row.Erased, func(seq int64) bool { return seq <= settled })
	lost := settled - was - int64(p.Delivered) - int64(noted-len(row.Erased))
	if lost <= 0 {
		return
	}
	// Those that a limit or a purge removed are before the first event that is left.
	to := settled
	if first := int64(p.First) - 1; first >= was+lost {
		to = min(to, first)
	}
	if row.LostEvents == 0 {
		row.LostFrom, row.LostSince = was+1, new(time.Now().Truncate(time.Microsecond))
	}
	row.LostEvents += lost
	row.LostFrom, row.LostTo = min(row.LostFrom, was+1), max(row.LostTo, to)
}

// NoteErased notes events that an erasure is about to remove from the log, so that those
// that are not applied yet do not count as lost.
func (s *Store) NoteErased(ctx context.Context, seqs []uint64) error {
	if len(seqs) == 0 {
		return nil
	}
	return wrap("write event_log", s.q.EventLogErase(ctx, s.pool, numbers(seqs)))
}

func numbers(seqs []uint64) []int64 {
	numbers := make([]int64, len(seqs))
	for i, seq := range seqs {
		numbers[i] = int64(seq)
	}
	return numbers
}

// AcknowledgeLost forgets the lost events up to a sequence. It returns false when more were
// lost since.
func (s *Store) AcknowledgeLost(ctx context.Context, to uint64) (bool, error) {
	n, err := s.q.EventLogAcknowledge(ctx, s.pool, int64(to))
	return n > 0, wrap("write event_log", err)
}
