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
		p.Ids = append(p.Ids, clerk.UUID(id))
		p.ClerkIds = append(p.ClerkIds, id)
		p.Names = append(p.Names, o.Name)
		p.Slugs = append(p.Slugs, o.Slug)
		p.ImageUrls = append(p.ImageUrls, o.ImageURL)
		p.CreatedBys = append(p.CreatedBys, o.CreatedBy)
		p.PublicMetadatas = append(p.PublicMetadatas, json.RawMessage(o.PublicMetadata))
		p.Raws = append(p.Raws, json.RawMessage(o.Raw))
		p.CreatedAts = append(p.CreatedAts, time.UnixMilli(o.CreatedAt))
		p.UpdatedAts = append(p.UpdatedAts, time.UnixMilli(o.UpdatedAt))
		p.DeletedAts = append(p.DeletedAts, deletedAt(c))
	}
	if len(p.ClerkIds) == 0 {
		return nil
	}
	return s.q.OrganizationUpsertMany(ctx, tx, p)
}
