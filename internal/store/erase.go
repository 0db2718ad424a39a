package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

var (
	// ErrNotDeleted means that an entity is live or not known.
	ErrNotDeleted = errors.New("not deleted")

	// ErrUnknown means that neither the tables nor the log have an entity.
	ErrUnknown = errors.New("not known: no event about it was stored, and no row has it")
)

// TombstoneUser makes the tombstone of a user that is live or not known, as a delete
// event emitted at that time would: not when the user was restored later. A tombstone
// that is there stays as it is.
func (s *Store) TombstoneUser(ctx context.Context, id string, at time.Time) error {
	h, err := s.q.HeadGet(ctx, s.pool, &db.HeadGetParams{Kind: string(clerk.KindUser), ClerkID: id})
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return wrap("read head", err)
	case err == nil && h.Deleted:
		return nil
	}
	_, err = s.Apply(ctx, []Entry{{Change: &clerk.Change{
		Kind: clerk.KindUser, ID: id, Version: clerk.Version{Deleted: true, EventAt: at.UnixMilli(), EventID: "erase"},
	}}})
	return err
}

// BeginErase marks the tombstone of a user. It must be called before the events that
// name the user are removed from the log, and [Store.FinishErase] after that. The error
// is [ErrNotDeleted] when there is no tombstone.
func (s *Store) BeginErase(ctx context.Context, id string) error {
	n, err := s.q.EraseBegin(ctx, s.pool, id)
	if err == nil && n == 0 {
		err = ErrNotDeleted
	}
	return wrap("begin erasing "+id, err)
}

// FinishErase records that the log no longer names a user. It returns false when an
// event that names the user was applied since [Store.BeginErase]: the log may hold it,
// and the erasure must begin again.
func (s *Store) FinishErase(ctx context.Context, id string) (bool, error) {
	n, err := s.q.EraseFinish(ctx, s.pool, id)
	return n > 0, wrap("finish erasing "+id, err)
}

// UsersToErase returns at most limit users whose delete was applied before a time and who
// are not erased, or were named by an event since; the oldest delete first.
func (s *Store) UsersToErase(ctx context.Context, deletedBefore time.Time, limit int) ([]string, error) {
	ids, err := s.q.EraseDueMany(ctx, s.pool, &db.EraseDueManyParams{DeletedBefore: deletedBefore, MaxCount: int32(limit)})
	return ids, wrap("find users to erase", err)
}
