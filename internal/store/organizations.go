package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// writeOrganizations is writeUsers for organizations.
func (s *Store) writeOrganizations(ctx context.Context, tx pgx.Tx, b *batch) error {
	p := &db.OrganizationUpsertManyParams{}
	for id, c := range b.won(clerk.KindOrganization) {
		o := clerk.Organization{PublicMetadata: emptyObject}
		if c.change != nil && c.change.Organization != nil {
			o = *c.change.Organization
		}
		p.ID = append(p.ID, clerk.UUID(id))
		p.ClerkID = append(p.ClerkID, id)
		p.Name = append(p.Name, o.Name)
		p.Slug = append(p.Slug, o.Slug)
		p.ImageUrl = append(p.ImageUrl, o.ImageURL)
		p.CreatedBy = append(p.CreatedBy, o.CreatedBy)
		p.PublicMetadata = append(p.PublicMetadata, json.RawMessage(o.PublicMetadata))
		p.Raw = append(p.Raw, json.RawMessage(o.Raw))
		p.CreatedAt = append(p.CreatedAt, time.UnixMilli(o.CreatedAt))
		p.UpdatedAt = append(p.UpdatedAt, time.UnixMilli(o.UpdatedAt))
		p.DeletedAt = append(p.DeletedAt, deletedAt(c))
	}
	if len(p.ClerkID) == 0 {
		return nil
	}
	return s.q.OrganizationUpsertMany(ctx, tx, p)
}
