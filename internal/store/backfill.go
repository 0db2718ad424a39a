package store

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// ErrBackfillRuns means that another process runs a backfill.
var ErrBackfillRuns = errors.New("another backfill is running")

// Backfill holds the checkpoints of a backfill. No other process has it.
type Backfill struct {
	s    *Store
	lock *pgx.Conn // holds the lock and does nothing else
}

// BackfillRun is a backfill that is under way.
type BackfillRun struct {
	InstanceID string
	LogID      string
	StartedAt  time.Time
	Segments   []*BackfillSegment
}

// BackfillSegment is a part of a backfill, read in order.
type BackfillSegment struct {
	Kind     clerk.Kind
	Number   int
	Position json.RawMessage // of the next page
	Read     int64           // distinct entities before the position, all durable in the log
	Refused  int64           // of those, how many no event can hold
	Done     bool
}

// BackfillPage is a page that is durable in the log: the segment as it is behind the page,
// and what the page adds to the counts of organizations, by Clerk id.
type BackfillPage struct {
	Segment BackfillSegment
	Members map[string]int64 // members of an organization, as Clerk counts them
	Read    map[string]int64 // memberships of an organization on this page
}

// OpenBackfill takes the checkpoints. The error is [ErrBackfillRuns] when another process
// has them.
func (s *Store) OpenBackfill(ctx context.Context) (*Backfill, error) {
	const doing = "lock the backfill"
	conn, err := s.pool.session(ctx)
	if err != nil {
		return nil, wrap(doing, err)
	}
	locked, err := s.q.BackfillLock(ctx, conn, s.schema)
	if err == nil && !locked {
		err = ErrBackfillRuns
	}
	if err != nil {
		return nil, wrap(doing, errors.Join(err, conn.Close(context.WithoutCancel(ctx))))
	}
	return &Backfill{s, conn}, nil
}

// Close gives the checkpoints back.
func (b *Backfill) Close() error { return b.s.endSession(b.lock) }

// unlockTimeout bounds the request to give back the locks of a session.
const unlockTimeout = 5 * time.Second

// endSession closes a connection that holds a lock. PostgreSQL notices the end of a
// session a moment after Close returned, and until then another process would not get the
// lock. So the lock is given back first; when that fails, the end of the session does it.
func (s *Store) endSession(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), unlockTimeout)
	defer cancel()
	_ = s.q.SessionUnlock(ctx, conn)
	return conn.Close(ctx)
}

// Run returns the run that is under way, nil when there is none.
func (b *Backfill) Run(ctx context.Context) (*BackfillRun, error) {
	const doing = "read the checkpoints"
	row, err := b.s.q.BackfillGet(ctx, b.s.pool)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap(doing, err)
	}
	segments, err := b.s.q.BackfillSegmentList(ctx, b.s.pool)
	if err != nil {
		return nil, wrap(doing, err)
	}
	run := &BackfillRun{InstanceID: row.InstanceID, LogID: row.LogID, StartedAt: row.StartedAt}
	for _, r := range segments {
		run.Segments = append(run.Segments, &BackfillSegment{clerk.Kind(r.Kind), int(r.Segment), r.Position, r.Read, r.Refused, r.Done})
	}
	return run, nil
}

// Start begins a run, and forgets any other.
func (b *Backfill) Start(ctx context.Context, run *BackfillRun) error {
	p := &db.BackfillSegmentCreateManyParams{}
	for _, s := range run.Segments {
		p.Kind, p.Segment, p.Position = append(p.Kind, string(s.Kind)), append(p.Segment, int32(s.Number)), append(p.Position, s.Position)
	}
	return b.change(ctx, "begin the backfill", func(tx pgx.Tx) error {
		if err := b.forget(ctx, tx); err != nil {
			return err
		}
		if err := b.s.q.BackfillCreate(ctx, tx, &db.BackfillCreateParams{InstanceID: run.InstanceID, LogID: run.LogID, StartedAt: run.StartedAt}); err != nil {
			return err
		}
		return b.s.q.BackfillSegmentCreateMany(ctx, tx, p)
	})
}

// Save writes the checkpoints behind pages, those of one segment in their order.
func (b *Backfill) Save(ctx context.Context, pages []*BackfillPage) error {
	return b.change(ctx, "write a checkpoint", func(tx pgx.Tx) error {
		for _, page := range pages {
			if err := b.save(ctx, tx, page); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *Backfill) save(ctx context.Context, tx pgx.Tx, page *BackfillPage) error {
	if len(page.Members) > 0 {
		ids, counts := columns(page.Members)
		if err := b.s.q.BackfillMembersMany(ctx, tx, &db.BackfillMembersManyParams{ClerkID: ids, Members: counts}); err != nil {
			return err
		}
	}
	if len(page.Read) > 0 {
		ids, counts := columns(page.Read)
		if err := b.s.q.BackfillReadMany(ctx, tx, &db.BackfillReadManyParams{ClerkID: ids, Read: counts}); err != nil {
			return err
		}
	}
	s := &page.Segment
	return b.s.q.BackfillSegmentUpdate(ctx, tx, &db.BackfillSegmentUpdateParams{
		Kind: string(s.Kind), Segment: int32(s.Number), Position: s.Position, Read: s.Read, Refused: s.Refused, Done: s.Done,
	})
}

// Differing returns the organizations of which Clerk counts other members than were read.
func (b *Backfill) Differing(ctx context.Context) ([]string, error) {
	ids, err := b.s.q.BackfillDifferingList(ctx, b.s.pool)
	return ids, wrap("compare the members", err)
}

// Finish ends the run.
func (b *Backfill) Finish(ctx context.Context) error {
	return b.change(ctx, "end the backfill", func(tx pgx.Tx) error { return b.forget(ctx, tx) })
}

func (b *Backfill) forget(ctx context.Context, tx pgx.Tx) error {
	return errors.Join(b.s.q.BackfillOrganizationDelete(ctx, tx), b.s.q.BackfillSegmentDelete(ctx, tx), b.s.q.BackfillRunDelete(ctx, tx))
}

func (b *Backfill) change(ctx context.Context, doing string, f func(pgx.Tx) error) error {
	return wrap(doing, pgx.BeginFunc(ctx, b.s.pool, f))
}

func columns(of map[string]int64) (ids []string, counts []int64) {
	ids = slices.Sorted(maps.Keys(of))
	for _, id := range ids {
		counts = append(counts, of[id])
	}
	return ids, counts
}
