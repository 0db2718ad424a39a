package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
)

// ErrNothingLeft means that the log has no event to restore an entity from.
var ErrNothingLeft = errors.New("nothing is left to restore it from: the log holds no event about it but its delete")

// ErrUnfinished means that an entity is restored as of the time when the log was read, and
// not all events stored since are applied. A replay of the entity applies them.
var ErrUnfinished = errors.New("it is restored, but events stored since are not all applied")

// cascade is how long before the delete of a user or an organization Clerk may emit the
// deletes of its memberships. A membership that ended earlier is not restored.
const cascade = 10 * time.Second

// Restoration lists the events that a restore would apply.
type Restoration struct {
	Kind        clerk.Kind
	ID          string
	DeletedAt   time.Time
	Entity      RestoredEvent
	Memberships []RestoredEvent // those that were live when it was deleted, by their ids

	last uint64 // sequence up to which the log was read
}

// RestoredEvent is an event that is applied again.
type RestoredEvent struct {
	Change   *clerk.Change
	Seq      uint64
	StoredAt time.Time
}

// Restorer lifts tombstones.
type Restorer struct {
	Log   *eventlog.Log
	Store *store.Store
}

// Prepare reads the events to restore an entity from. The error is
// [store.ErrUnknown], [store.ErrNotDeleted] or [ErrNothingLeft].
func (r *Restorer) Prepare(ctx context.Context, kind clerk.Kind, id string) (*Restoration, error) {
	head, err := r.Store.Head(ctx, kind, id)
	switch {
	case err != nil:
		return nil, err
	case head == nil:
		return nil, fmt.Errorf("%s: %w", id, store.ErrUnknown)
	case !head.Deleted:
		return nil, fmt.Errorf("%s: %w", id, store.ErrNotDeleted)
	}
	plan := &Restoration{Kind: kind, ID: id}
	states, err := r.read(ctx, eventlog.Filter{Entity: id}, plan)
	if err != nil {
		return nil, err
	}
	if s := states[id]; s == nil || s.newest.Change == nil {
		return nil, fmt.Errorf("%s: %w", id, ErrNothingLeft)
	}
	plan.Entity = states[id].newest
	plan.DeletedAt = states[id].left(head)
	if kind == clerk.KindMembership {
		return plan, nil
	}
	memberships := around(kind, id)
	memberships.Types = []string{clerk.ResourceOf(clerk.KindMembership) + ".*"}
	if states, err = r.read(ctx, memberships, plan); err != nil {
		return nil, err
	}
	for id, s := range states {
		if s.newest.Change == nil {
			continue
		}
		// A delete may name nothing but its own id: then only the head has it.
		head, err := r.Store.Head(ctx, clerk.KindMembership, id)
		if err != nil {
			return nil, err
		}
		if left := s.left(head); !left.IsZero() && left.Before(plan.DeletedAt.Add(-cascade)) {
			continue
		}
		plan.Memberships = append(plan.Memberships, s.newest)
	}
	slices.SortFunc(plan.Memberships, func(a, b RestoredEvent) int { return strings.Compare(a.Change.ID, b.Change.ID) })
	return plan, nil
}

// around selects the events that name an entity.
func around(kind clerk.Kind, id string) eventlog.Filter {
	switch kind {
	case clerk.KindUser:
		return eventlog.Filter{User: id}
	case clerk.KindOrganization:
		return eventlog.Filter{Org: id}
	}
	return eventlog.Filter{Entity: id}
}

// remembered is the history of an entity in the log.
type remembered struct {
	newest  RestoredEvent // event that is no delete
	deletes []time.Time   // when they were emitted
}

// left returns when the entity was deleted, zero when it was not: the time of the first
// delete that was not lifted by a restore.
func (s *remembered) left(head *db.EntityHead) time.Time {
	deletes := s.deletes
	if head != nil && head.Deleted {
		deletes = append(deletes, head.EventAt)
	}
	var left time.Time
	for _, at := range deletes {
		lifted := head != nil && head.RestoredAt != nil && !at.After(*head.RestoredAt)
		if !lifted && (left.IsZero() || at.Before(left)) {
			left = at
		}
	}
	return left
}

func (r *Restorer) read(ctx context.Context, f eventlog.Filter, plan *Restoration) (map[string]*remembered, error) {
	scan, err := r.Log.Events(ctx, f, false)
	if err != nil {
		return nil, err
	}
	states := map[string]*remembered{}
	err = scan.Each(ctx, func(m *eventlog.Message) error {
		plan.last = max(plan.last, m.Seq)
		change, err := clerk.ParseChange(m.Event)
		if err != nil || change == nil { // a dead letter, or not synced
			return nil
		}
		s := states[change.ID]
		if s == nil {
			s = &remembered{}
			states[change.ID] = s
		}
		switch at := time.UnixMilli(change.Version.EventAt); {
		case change.Version.Deleted:
			s.deletes = append(s.deletes, at)
		case s.newest.Change == nil || change.Version.Compare(s.newest.Change.Version) > 0:
			s.newest = RestoredEvent{change, m.Seq, m.StoredAt}
		}
		return nil
	})
	return states, err
}

// Restore lifts the tombstone and restores what was prepared. The error is
// [store.ErrNotDeleted] when another process restored it first, and wraps [ErrUnfinished]
// when only events stored since Prepare are missing.
func (r *Restorer) Restore(ctx context.Context, plan *Restoration) error {
	entries := []store.Entry{{Change: plan.Entity.Change, Seq: plan.Entity.Seq}}
	for _, m := range plan.Memberships {
		entries = append(entries, store.Entry{Change: m.Change, Seq: m.Seq})
	}
	if _, err := r.Store.Restore(ctx, plan.Kind, plan.ID, entries); err != nil {
		return err
	}
	if err := r.follow(ctx, plan); err != nil {
		return fmt.Errorf("%w, from sequence %d on: %w", ErrUnfinished, plan.last+1, err)
	}
	return nil
}

// follow applies the events stored since the log was read. They may have been stale
// against the tombstone; a membership may have been applied and got no row, which is why
// equal versions are applied again.
func (r *Restorer) follow(ctx context.Context, plan *Restoration) error {
	f := around(plan.Kind, plan.ID)
	f.From = plan.last + 1
	scan, err := r.Log.Events(ctx, f, false)
	if err != nil {
		return err
	}
	defer scan.Close()
	return NewEvents(scan, r.Log, Options{Apply: r.Store.Reapply}).Run(ctx)
}
