package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// writeMemberships removes the rows of memberships that are not live any more,
// for whatever reason, and writes those that won.
func (s *Store) writeMemberships(ctx context.Context, tx pgx.Tx, b *batch) error {
	gone := &db.MembershipDeleteManyParams{}
	for id, c := range b.won(clerk.KindUser) {
		if c.version.Deleted {
			gone.UserIds = append(gone.UserIds, clerk.UUID(id))
		}
	}
	for id, c := range b.won(clerk.KindOrganization) {
		if c.version.Deleted {
			gone.OrgIds = append(gone.OrgIds, id)
		}
	}
	superseded := &db.MembershipDeleteSupersededManyParams{}
	p := &db.MembershipUpsertManyParams{}
	for id, c := range b.won(clerk.KindMembership) {
		if c.version.Deleted {
			gone.ClerkIds = append(gone.ClerkIds, id)
			continue
		}
		m := c.change.Membership
		permissions, err := json.Marshal(m.Permissions)
		if err != nil || m.Permissions == nil {
			permissions = []byte("[]")
		}
		p.Ids = append(p.Ids, clerk.UUID(id))
		p.ClerkIds = append(p.ClerkIds, id)
		p.UserIds = append(p.UserIds, clerk.UUID(m.UserID))
		p.UserClerkIds = append(p.UserClerkIds, m.UserID)
		p.OrgIds = append(p.OrgIds, m.OrgID)
		p.Roles = append(p.Roles, m.Role)
		p.Permissions = append(p.Permissions, permissions)
		p.PublicMetadatas = append(p.PublicMetadatas, json.RawMessage(m.PublicMetadata))
		p.CreatedAts = append(p.CreatedAts, time.UnixMilli(m.CreatedAt))
		p.UpdatedAts = append(p.UpdatedAts, time.UnixMilli(m.UpdatedAt))
	}
	for id, c := range b.won(kindSeat) {
		user, org, _ := strings.Cut(id, "/")
		superseded.UserIds = append(superseded.UserIds, clerk.UUID(user))
		superseded.OrgIds = append(superseded.OrgIds, org)
		superseded.ClerkIds = append(superseded.ClerkIds, c.version.EventID)
	}

	if len(gone.ClerkIds)+len(gone.UserIds)+len(gone.OrgIds) > 0 {
		if err := s.q.MembershipDeleteMany(ctx, tx, gone); err != nil {
			return err
		}
	}
	if len(superseded.ClerkIds) > 0 {
		if err := s.q.MembershipDeleteSupersededMany(ctx, tx, superseded); err != nil {
			return err
		}
	}
	if len(p.ClerkIds) > 0 {
		return s.q.MembershipUpsertMany(ctx, tx, p)
	}
	return nil
}
