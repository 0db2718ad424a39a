package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// writeUsers writes the users that won: as Clerk has them, as a stub when only
// the id is known, as a tombstone when deleted.
func (s *Store) writeUsers(ctx context.Context, tx pgx.Tx, b *batch) error {
	p := &db.UserUpsertManyParams{}
	claims := make(map[string]claim)
	for id, c := range b.won(clerk.KindUser) {
		u := clerk.User{PublicMetadata: emptyObject}
		if c.change != nil && c.change.User != nil {
			u = *c.change.User
		}
		claims[id] = claim{address: u.PrimaryEmail, version: c.version}
		p.Ids = append(p.Ids, clerk.UUID(id))
		p.ClerkIds = append(p.ClerkIds, id)
		p.PrimaryEmails = append(p.PrimaryEmails, u.PrimaryEmail)
		p.EmailVerifieds = append(p.EmailVerifieds, u.EmailVerified)
		p.FirstNames = append(p.FirstNames, u.FirstName)
		p.LastNames = append(p.LastNames, u.LastName)
		p.Usernames = append(p.Usernames, u.Username)
		p.PhoneNumbers = append(p.PhoneNumbers, u.PhoneNumber)
		p.ImageUrls = append(p.ImageUrls, u.ImageURL)
		p.ExternalIds = append(p.ExternalIds, u.ExternalID)
		p.PublicMetadatas = append(p.PublicMetadatas, json.RawMessage(u.PublicMetadata))
		p.Banneds = append(p.Banneds, u.Banned)
		p.Lockeds = append(p.Lockeds, u.Locked)
		p.Deprovisioneds = append(p.Deprovisioneds, u.Deprovisioned)
		p.LastSignInAts = append(p.LastSignInAts, time.UnixMilli(u.LastSignInAt))
		p.Raws = append(p.Raws, json.RawMessage(u.Raw))
		p.CreatedAts = append(p.CreatedAts, time.UnixMilli(u.CreatedAt))
		p.UpdatedAts = append(p.UpdatedAts, time.UnixMilli(u.UpdatedAt))
		p.DeletedAts = append(p.DeletedAts, deletedAt(c))
	}
	if len(p.ClerkIds) == 0 {
		return nil
	}

	emails, err := s.resolveEmails(ctx, tx, p.ClerkIds, p.PrimaryEmails, claims)
	if err != nil {
		return err
	}
	if len(emails.release) > 0 {
		if err := s.q.UserEmailRelease(ctx, tx, emails.release); err != nil {
			return err
		}
	}
	for _, id := range p.ClerkIds {
		p.Emails = append(p.Emails, emails.held[id])
	}
	if err := s.q.UserUpsertMany(ctx, tx, p); err != nil {
		return err
	}
	if len(emails.grant) > 0 {
		return s.q.UserEmailGrant(ctx, tx, emails.grant)
	}
	return nil
}

var emptyObject = []byte("{}")

func deletedAt(c *candidate) time.Time {
	if !c.version.Deleted {
		return time.UnixMilli(0)
	}
	return time.UnixMilli(c.version.EventAt)
}
