package lag

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// Loss is what is known of events that left the log before they were applied: by a limit that somebody set
// on the stream, a purge, or a delete.
type Loss struct {
	Events uint64    `json:"events"`
	From   uint64    `json:"from"` // the events are among the sequences from here to there
	To     uint64    `json:"to"`
	Since  time.Time `json:"since"` // when it was noticed
}

// ErrOtherLog means that the event log is not the one that the rows come from: its data
// folder was lost, it was restored from a backup, or a setting names another deployment.
// Only an operator can tell which; a retry does not help.
var ErrOtherLog = errors.New("the event log is not the one that the rows come from")

// FixOtherLog is the next step after [ErrOtherLog].
const FixOtherLog = "correct NATS_URL, CLERKSYNC_DATA_DIR or DATABASE_URL; if this log is to replace the other one: clerksync events adopt, and start again"

// CheckLog compares the log with the one that the database records, and records it when
// there is none yet. A worker calls it before it applies the first event: what left the log
// while no worker ran shows here. The error is [ErrOtherLog], or [eventlog.ErrUnavailable]
// when the log cannot be read.
//
// A process that has the log to itself takes back what a killed predecessor had in work. The
// count of deliveries then begins again, so it is recorded before and after that, and no
// other observation may fall between: see [Meter.CheckLog].
func CheckLog(ctx context.Context, log *eventlog.Log, st *store.Store) error {
	if err := checkLog(ctx, log, st); err != nil {
		return err
	}
	if reset, err := log.TakeBack(ctx); !reset || err != nil {
		return err
	}
	return checkLog(ctx, log, st)
}

func checkLog(ctx context.Context, log *eventlog.Log, st *store.Store) error {
	b, err := log.Backlog(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", eventlog.ErrUnavailable, err)
	}
	_, _, err = Observe(ctx, log, st, b)
	return err
}

// CheckLog is [CheckLog] of the meter's log, while the meter takes no reading.
func (m *Meter) CheckLog(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return CheckLog(ctx, m.log, m.store)
}

// Observe compares the log with the last observation in the database and records what b
// says. It returns the lost events, nil when there are none, and the sequence up to which
// every event is known to be applied. The error is [ErrOtherLog].
//
// An event that leaves the log between its delivery to a worker and that worker's commit
// does not show when the worker dies. Nor do events whose number is smaller than that of
// the repeated deliveries since the last observation, a few seconds ago.
func Observe(ctx context.Context, log *eventlog.Log, st *store.Store, b *eventlog.Backlog) (*Loss, uint64, error) {
	// A worker applies events that are not on the disk yet. After a power failure, a log
	// without events that are recorded as applied would look like an older copy of it.
	if err := log.Force(ctx); err != nil {
		return nil, 0, err
	}
	now := floor(b)
	was, err := st.EventLog(ctx)
	switch {
	case err != nil:
		return nil, 0, err
	case was == nil:
		return nil, now.Settled, begin(ctx, log, b, st)
	}
	if err := compare(ctx, log, b, was.LogID, uint64(was.Settled)); err != nil {
		return nil, 0, err
	}
	// After the loss of the consumer, events that were settled are delivered again.
	now.Settled = max(now.Settled, uint64(was.Settled))
	var delivered uint64
	if now.Deliveries >= uint64(was.Deliveries) {
		delivered = now.Deliveries - uint64(was.Deliveries)
	} else { // the consumer was made anew or reset: only what is gone from the log was not delivered
		delivered = now.Settled - max(uint64(was.Settled), min(now.Settled, b.First-min(b.First, 1)))
	}
	row, err := st.ObserveLog(ctx, store.Passed{Was: was, Now: now, Delivered: delivered, First: b.First})
	if err != nil {
		return nil, 0, err
	}
	return lostOf(uint64(row.LostEvents), uint64(row.LostFrom), uint64(row.LostTo), row.LostSince), uint64(row.Settled), nil
}

// compare returns [ErrOtherLog] unless this is the log that the database records.
func compare(ctx context.Context, log *eventlog.Log, b *eventlog.Backlog, id string, settled uint64) error {
	if b.LogID != id {
		return fmt.Errorf("%w: its id is %s, and that of the rows %s", ErrOtherLog, b.LogID, id)
	}
	if b.Last >= settled {
		return nil
	}
	// Another worker may have recorded events that were stored after b was read.
	state, err := log.State(ctx)
	if err == nil && state.Last < settled {
		err = fmt.Errorf("%w: it ends with sequence %d, and events up to %d were applied: an older copy of it was restored", ErrOtherLog, state.Last, settled)
	}
	return err
}

// ReadLost returns what the workers found to be lost, nil when nothing is.
func ReadLost(ctx context.Context, st *store.Store) (*Loss, error) {
	row, err := st.EventLog(ctx)
	if row == nil || err != nil {
		return nil, err
	}
	return lostOf(uint64(row.LostEvents), uint64(row.LostFrom), uint64(row.LostTo), row.LostSince), nil
}

func lostOf(events, from, to uint64, since *time.Time) *Loss {
	if events == 0 {
		return nil
	}
	return &Loss{Events: events, From: from, To: to, Since: since.UTC()}
}

// begin records a log that the database does not know, together with the gaps in it, of
// erasures that nobody noted. The second time it is for an erasure that had no record to be
// noted in.
func begin(ctx context.Context, log *eventlog.Log, b *eventlog.Backlog, st *store.Store) error {
	now := floor(b)
	if now.Settled+b.Pending >= b.Last {
		return st.RecordLog(ctx, now, nil)
	}
	for range 2 {
		gaps, err := log.Gaps(ctx, now.Settled)
		if err != nil {
			return err
		}
		if err := st.RecordLog(ctx, now, gaps); err != nil {
			return err
		}
	}
	return nil
}

func floor(b *eventlog.Backlog) store.LogFloor {
	return store.LogFloor{ID: b.LogID, Settled: b.Floor.Seq, Deliveries: b.Floor.Deliveries}
}

// lost returns what is lost. A worker also records how far the log is settled, which
// others only read: a reset of the consumer is known to nobody else.
func (m *Meter) lost(ctx context.Context, b *eventlog.Backlog) (*Loss, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if m.worker {
		lost, _, err := Observe(ctx, m.log, m.store, b)
		return lost, err
	}
	row, err := m.store.EventLog(ctx)
	if row == nil || err != nil {
		return nil, err
	}
	if err := compare(ctx, m.log, b, row.LogID, uint64(row.Settled)); err != nil {
		return nil, err
	}
	return lostOf(uint64(row.LostEvents), uint64(row.LostFrom), uint64(row.LostTo), row.LostSince), nil
}
