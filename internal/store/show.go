package store

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Shown is the head and the row of one entity.
type Shown struct {
	Head *db.EntityHead // nil when the entity is not known
	Row  Row            // nil when there is none; that of a membership ends with user_clerk_id
}

// Show reads an entity by its Clerk id. An unknown entity is no error.
func (s *Store) Show(ctx context.Context, kind clerk.Kind, id string) (*Shown, error) {
	head, err := s.Head(ctx, kind, id)
	if err != nil || head == nil {
		return &Shown{}, err
	}
	k := key{kind, id}
	rows, err := s.rowsOf(ctx, s.pool, []key{k})
	return &Shown{head, rows[k]}, wrap("read row", err)
}

// Head returns the head of an entity, nil when the entity is not known.
func (s *Store) Head(ctx context.Context, kind clerk.Kind, id string) (*db.EntityHead, error) {
	head, err := s.q.HeadGet(ctx, s.pool, &db.HeadGetParams{Kind: string(kind), ClerkID: id})
	return orNil("read head", head, err)
}

// Membership returns whom the row of a membership binds, nil when it has no row.
func (s *Store) Membership(ctx context.Context, id string) (*db.MembershipGetRow, error) {
	m, err := s.q.MembershipGet(ctx, s.pool, id)
	return orNil("read membership", m, err)
}

// Seat returns the Clerk id of the membership that has the seat of a user in an
// organization, "" when there is none.
func (s *Store) Seat(ctx context.Context, userID, orgID string) (string, error) {
	id, err := s.q.SeatGet(ctx, s.pool, &db.SeatGetParams{UserID: userID, OrgID: orgID})
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return id, wrap("read seat", err)
}

// EmailClaimedBy returns the address that a user claims, "" when there is none.
func (s *Store) EmailClaimedBy(ctx context.Context, id string) (string, error) {
	address, err := s.q.UserEmailGet(ctx, s.pool, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return address, wrap("read user", err)
}

// UsersByEmail returns the Clerk ids of the users that claim an address, its holder first.
// It looks for the address as it is given, then in lower case, as Clerk writes it.
func (s *Store) UsersByEmail(ctx context.Context, address string) ([]string, error) {
	ids, err := s.q.UserFindByEmail(ctx, s.pool, address)
	if lower := strings.ToLower(address); err == nil && len(ids) == 0 && lower != address {
		ids, err = s.q.UserFindByEmail(ctx, s.pool, lower)
	}
	return ids, wrap("find users", err)
}

// orNil returns nil for a row that is not there.
func orNil[T any](doing string, row *T, err error) (*T, error) {
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, wrap(doing, err)
	}
	return row, nil
}
