package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Shown is what the tables have of one entity.
type Shown struct {
	Row  any            // *db.User, *db.Organization or *db.MembershipGetRow; nil when there is none
	Head *db.EntityHead // nil when the entity is not known
}

// Show reads one entity by its Clerk id. An entity that is not known is no error.
func (s *Store) Show(ctx context.Context, kind clerk.Kind, id string) (*Shown, error) {
	shown := &Shown{}
	head, err := s.q.HeadGet(ctx, s.pool, &db.HeadGetParams{Kind: string(kind), ClerkID: id})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return shown, nil
	case err != nil:
		return nil, wrap("read head", err)
	}
	shown.Head = head
	var row any
	switch kind {
	case clerk.KindUser:
		row, err = s.q.UserGet(ctx, s.pool, id)
	case clerk.KindOrganization:
		row, err = s.q.OrganizationGet(ctx, s.pool, id)
	case clerk.KindMembership:
		row, err = s.q.MembershipGet(ctx, s.pool, id)
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows): // a membership that is not live
		return shown, nil
	case err != nil:
		return nil, wrap("read row", err)
	}
	shown.Row = row
	return shown, nil
}

// UsersByEmail returns the Clerk ids of the users that claim an address, the one
// that holds it first.
func (s *Store) UsersByEmail(ctx context.Context, address string) ([]string, error) {
	ids, err := s.q.UserFindByEmail(ctx, s.pool, address)
	return ids, wrap("look for users", err)
}
