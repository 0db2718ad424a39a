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

// writeMemberships removes the rows of memberships that are no longer live, whatever
// ended them, and writes those that won.
func (s *Store) writeMemberships(ctx context.Context, tx pgx.Tx, b *batch) error {
	gone := &db.MembershipDeleteManyParams{}
	for id, c := range b.won(clerk.KindUser) {
		if c.version.Deleted {
			gone.UserID = append(gone.UserID, clerk.UUID(id))
		}
	}
	for id, c := range b.won(clerk.KindOrganization) {
		if c.version.Deleted {
			gone.OrgID = append(gone.OrgID, id)
		}
	}
	superseded := &db.MembershipDeleteSupersededManyParams{}
	p := &db.MembershipUpsertManyParams{}
	for id, c := range b.won(clerk.KindMembership) {
		if c.version.Deleted {
			gone.ClerkID = append(gone.ClerkID, id)
			continue
		}
		m := c.change.Membership
		permissions, err := json.Marshal(m.Permissions)
		if err != nil || m.Permissions == nil {
			permissions = []byte("[]")
		}
		p.ID = append(p.ID, clerk.UUID(id))
		p.ClerkID = append(p.ClerkID, id)
		p.UserID = append(p.UserID, clerk.UUID(m.UserID))
		p.UserClerkID = append(p.UserClerkID, m.UserID)
		p.OrgID = append(p.OrgID, m.OrgID)
		p.Role = append(p.Role, m.Role)
		p.Permissions = append(p.Permissions, permissions)
		p.PublicMetadata = append(p.PublicMetadata, json.RawMessage(m.PublicMetadata))
		p.CreatedAt = append(p.CreatedAt, time.UnixMilli(m.CreatedAt))
		p.UpdatedAt = append(p.UpdatedAt, time.UnixMilli(m.UpdatedAt))
	}
	for id, c := range b.won(kindSeat) {
		user, org, _ := strings.Cut(id, "/")
		superseded.UserID = append(superseded.UserID, clerk.UUID(user))
		superseded.OrgID = append(superseded.OrgID, org)
		superseded.ClerkID = append(superseded.ClerkID, c.version.EventID)
	}

	if len(gone.ClerkID)+len(gone.UserID)+len(gone.OrgID) > 0 {
		if err := s.q.MembershipDeleteMany(ctx, tx, gone); err != nil {
			return err
		}
	}
	if len(superseded.ClerkID) > 0 {
		if err := s.q.MembershipDeleteSupersededMany(ctx, tx, superseded); err != nil {
			return err
		}
	}
	if len(p.ClerkID) > 0 {
		return s.q.MembershipUpsertMany(ctx, tx, p)
	}
	return nil
}
