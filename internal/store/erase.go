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
	// ErrNotDeleted means that an entity is not deleted, or not known.
	ErrNotDeleted = errors.New("not deleted")

	// ErrUnknown means that neither the tables nor the log know an entity.
	ErrUnknown = errors.New("not known: no event about it was stored, and no row has it")
)

// TombstoneUser makes the tombstone of a user that is not deleted, or not known,
// as a delete event emitted at that time would; so not when the user was restored
// after that time. That of a deleted one stays as it is.
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

// BeginErase is to be called before the events that name a deleted user are
// removed from the log, and [Store.FinishErase] after it. The error is
// [ErrNotDeleted] when there is no tombstone.
func (s *Store) BeginErase(ctx context.Context, id string) error {
	n, err := s.q.EraseBegin(ctx, s.pool, id)
	if err == nil && n == 0 {
		err = ErrNotDeleted
	}
	return wrap("begin erasing "+id, err)
}

// FinishErase notes that the log holds nothing about a user any more. It returns
// false when an event that names the user was applied since [Store.BeginErase]:
// the log may hold it, and the erasure has to begin again.
func (s *Store) FinishErase(ctx context.Context, id string) (bool, error) {
	n, err := s.q.EraseFinish(ctx, s.pool, id)
	return n > 0, wrap("finish erasing "+id, err)
}

// UsersToErase returns the users that were deleted here before a time and are not
// erased yet, or were named by an event since: at most limit, the first deleted
// first.
func (s *Store) UsersToErase(ctx context.Context, deletedBefore time.Time, limit int) ([]string, error) {
	ids, err := s.q.EraseDueMany(ctx, s.pool, &db.EraseDueManyParams{DeletedBefore: deletedBefore, MaxCount: int32(limit)})
	return ids, wrap("look for users to erase", err)
}
