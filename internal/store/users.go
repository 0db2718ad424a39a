package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// writeUsers writes the users that won: in full, as a stub when only the id is known, or
// as a tombstone when deleted.
func (s *Store) writeUsers(ctx context.Context, tx pgx.Tx, b *batch) error {
	p := &db.UserUpsertManyParams{}
	claims := make(map[string]claim)
	for id, c := range b.won(clerk.KindUser) {
		u := clerk.User{PublicMetadata: emptyObject}
		if c.change != nil && c.change.User != nil {
			u = *c.change.User
		}
		claims[id] = claim{address: u.PrimaryEmail, version: c.version}
		p.ID = append(p.ID, clerk.UUID(id))
		p.ClerkID = append(p.ClerkID, id)
		p.PrimaryEmail = append(p.PrimaryEmail, u.PrimaryEmail)
		p.EmailVerified = append(p.EmailVerified, u.EmailVerified)
		p.FirstName = append(p.FirstName, u.FirstName)
		p.LastName = append(p.LastName, u.LastName)
		p.Username = append(p.Username, u.Username)
		p.PhoneNumber = append(p.PhoneNumber, u.PhoneNumber)
		p.ImageUrl = append(p.ImageUrl, u.ImageURL)
		p.ExternalID = append(p.ExternalID, u.ExternalID)
		p.PublicMetadata = append(p.PublicMetadata, json.RawMessage(u.PublicMetadata))
		p.Banned = append(p.Banned, u.Banned)
		p.Locked = append(p.Locked, u.Locked)
		p.Deprovisioned = append(p.Deprovisioned, u.Deprovisioned)
		p.LastSignInAt = append(p.LastSignInAt, time.UnixMilli(u.LastSignInAt))
		p.Raw = append(p.Raw, json.RawMessage(u.Raw))
		p.CreatedAt = append(p.CreatedAt, time.UnixMilli(u.CreatedAt))
		p.UpdatedAt = append(p.UpdatedAt, time.UnixMilli(u.UpdatedAt))
		p.DeletedAt = append(p.DeletedAt, deletedAt(c))
	}
	if len(p.ClerkID) == 0 {
		return nil
	}

	emails, err := s.resolveEmails(ctx, tx, p.ClerkID, p.PrimaryEmail, claims)
	if err != nil {
		return err
	}
	if len(emails.release) > 0 {
		if err := s.releaseEmails(ctx, tx, emails.release); err != nil {
			return err
		}
	}
	for _, id := range p.ClerkID {
		held, rank := emails.held[id], ""
		if held == "" {
			rank = claims[id].rank()
		}
		p.Email, p.EmailRank = append(p.Email, held), append(p.EmailRank, rank)
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
