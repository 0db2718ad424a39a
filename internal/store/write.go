package store

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// write writes a decision in one round trip, and commits it if told to.
func (s *Store) write(ctx context.Context, conn *pgxpool.Conn, d *decision, commit bool) error {
	p := new(roundTrip)
	for _, queue := range []func(context.Context, *roundTrip, *decision) error{
		s.writeHeads, s.writeUsers, s.writeOrganizations, s.writeMemberships, s.writeSeats,
	} {
		if err := queue(ctx, p, d); err != nil {
			return err
		}
	}
	if commit {
		p.queued.Queue("commit")
	}
	p.send(ctx, conn)
	return p.close()
}

func (s *Store) writeHeads(ctx context.Context, p *roundTrip, d *decision) error {
	if len(d.heads) == 0 {
		return nil
	}
	a := &db.HeadWriteManyParams{}
	for _, h := range d.heads {
		a.Kind = append(a.Kind, string(h.key.kind))
		a.ClerkID = append(a.ClerkID, h.key.id)
		a.Deleted = append(a.Deleted, h.version.Deleted)
		a.UpdatedAt = append(a.UpdatedAt, time.UnixMilli(h.version.UpdatedAt))
		a.EventAt = append(a.EventAt, time.UnixMilli(h.version.EventAt))
		a.EventID = append(a.EventID, h.version.EventID)
		a.EventSeq = append(a.EventSeq, int64(h.seq))
		a.Lifted = append(a.Lifted, h.lifted)
	}
	return s.q.HeadWriteMany(ctx, p, a)
}

// writeUsers writes the users that won: in full, as a stub when only the id is known, or
// as a tombstone when deleted. They are in the order of the addresses that they get: two
// batches that claim the same free addresses then wait for each other. They can still
// deadlock with one that releases an address before, and begin again.
func (s *Store) writeUsers(ctx context.Context, p *roundTrip, d *decision) error {
	if len(d.users) == 0 {
		return nil
	}
	e := d.emails
	slices.SortFunc(d.users, func(a, b winner) int { return cmp.Or(cmp.Compare(e.held[a.id], e.held[b.id]), cmp.Compare(a.id, b.id)) })
	a := &db.UserUpsertManyParams{}
	for _, w := range d.users {
		u := clerk.User{PublicMetadata: emptyObject}
		if w.change != nil && w.change.User != nil {
			u = *w.change.User
		}
		rank := ""
		if e.held[w.id] == "" {
			rank = claim{u.PrimaryEmail, w.version}.rank()
		}
		a.ID = append(a.ID, clerk.UUID(w.id))
		a.ClerkID = append(a.ClerkID, w.id)
		a.Email = append(a.Email, e.held[w.id])
		a.EmailRank = append(a.EmailRank, rank)
		a.PrimaryEmail = append(a.PrimaryEmail, u.PrimaryEmail)
		a.EmailVerified = append(a.EmailVerified, u.EmailVerified)
		a.FirstName = append(a.FirstName, u.FirstName)
		a.LastName = append(a.LastName, u.LastName)
		a.Username = append(a.Username, u.Username)
		a.PhoneNumber = append(a.PhoneNumber, u.PhoneNumber)
		a.ImageUrl = append(a.ImageUrl, u.ImageURL)
		a.ExternalID = append(a.ExternalID, u.ExternalID)
		a.PublicMetadata = append(a.PublicMetadata, json.RawMessage(u.PublicMetadata))
		a.Banned = append(a.Banned, u.Banned)
		a.Locked = append(a.Locked, u.Locked)
		a.Deprovisioned = append(a.Deprovisioned, u.Deprovisioned)
		a.LastSignInAt = append(a.LastSignInAt, time.UnixMilli(u.LastSignInAt))
		a.Raw = append(a.Raw, json.RawMessage(u.Raw))
		a.CreatedAt = append(a.CreatedAt, time.UnixMilli(u.CreatedAt))
		a.UpdatedAt = append(a.UpdatedAt, time.UnixMilli(u.UpdatedAt))
		a.DeletedAt = append(a.DeletedAt, w.deletedAt())
	}
	if len(e.release) > 0 {
		ranks, err := json.Marshal(e.release)
		if err != nil {
			return err
		}
		if err := s.q.UserEmailRelease(ctx, p, &db.UserEmailReleaseParams{Ranks: ranks, ClerkID: slices.Collect(maps.Keys(e.release))}); err != nil {
			return err
		}
	}
	if err := s.q.UserUpsertMany(ctx, p, a); err != nil || len(e.grant) == 0 {
		return err
	}
	return s.q.UserEmailGrant(ctx, p, e.grant)
}

var emptyObject = []byte("{}")

func (w winner) deletedAt() time.Time {
	if !w.version.Deleted {
		return time.UnixMilli(0)
	}
	return time.UnixMilli(w.version.EventAt)
}

// writeOrganizations is writeUsers for organizations.
func (s *Store) writeOrganizations(ctx context.Context, p *roundTrip, d *decision) error {
	if len(d.organizations) == 0 {
		return nil
	}
	a := &db.OrganizationUpsertManyParams{}
	for _, w := range d.organizations {
		o := clerk.Organization{PublicMetadata: emptyObject}
		if w.change != nil && w.change.Organization != nil {
			o = *w.change.Organization
		}
		a.ID = append(a.ID, clerk.UUID(w.id))
		a.ClerkID = append(a.ClerkID, w.id)
		a.Name = append(a.Name, o.Name)
		a.Slug = append(a.Slug, o.Slug)
		a.ImageUrl = append(a.ImageUrl, o.ImageURL)
		a.CreatedBy = append(a.CreatedBy, o.CreatedBy)
		a.PublicMetadata = append(a.PublicMetadata, json.RawMessage(o.PublicMetadata))
		a.Raw = append(a.Raw, json.RawMessage(o.Raw))
		a.CreatedAt = append(a.CreatedAt, time.UnixMilli(o.CreatedAt))
		a.UpdatedAt = append(a.UpdatedAt, time.UnixMilli(o.UpdatedAt))
		a.DeletedAt = append(a.DeletedAt, w.deletedAt())
	}
	return s.q.OrganizationUpsertMany(ctx, p, a)
}

// writeMemberships removes the rows of memberships that are no longer live, whatever
// ended them, and writes those that are.
func (s *Store) writeMemberships(ctx context.Context, p *roundTrip, d *decision) error {
	gone := &db.MembershipDeleteManyParams{ClerkID: d.left}
	for _, w := range d.users {
		if w.version.Deleted {
			gone.UserID = append(gone.UserID, clerk.UUID(w.id))
		}
	}
	for _, w := range d.organizations {
		if w.version.Deleted {
			gone.OrgID = append(gone.OrgID, w.id)
		}
	}
	if len(gone.ClerkID)+len(gone.UserID)+len(gone.OrgID) > 0 {
		if err := s.q.MembershipDeleteMany(ctx, p, gone); err != nil {
			return err
		}
	}
	if len(d.seats) > 0 {
		superseded := &db.MembershipDeleteSupersededManyParams{}
		for at, o := range d.seats {
			superseded.UserID = append(superseded.UserID, clerk.UUID(at.user))
			superseded.OrgID = append(superseded.OrgID, at.org)
			superseded.ClerkID = append(superseded.ClerkID, o.id)
		}
		if err := s.q.MembershipDeleteSupersededMany(ctx, p, superseded); err != nil {
			return err
		}
	}
	if len(d.memberships) == 0 {
		return nil
	}
	a := &db.MembershipUpsertManyParams{}
	for _, w := range d.memberships {
		m := w.change.Membership
		permissions, err := json.Marshal(m.Permissions)
		if err != nil || m.Permissions == nil {
			permissions = []byte("[]")
		}
		a.ID = append(a.ID, clerk.UUID(w.id))
		a.ClerkID = append(a.ClerkID, w.id)
		a.UserID = append(a.UserID, clerk.UUID(m.UserID))
		a.OrgID = append(a.OrgID, m.OrgID)
		a.Role = append(a.Role, m.Role)
		a.Permissions = append(a.Permissions, permissions)
		a.PublicMetadata = append(a.PublicMetadata, json.RawMessage(m.PublicMetadata))
		a.CreatedAt = append(a.CreatedAt, time.UnixMilli(m.CreatedAt))
		a.UpdatedAt = append(a.UpdatedAt, time.UnixMilli(m.UpdatedAt))
	}
	return s.q.MembershipUpsertMany(ctx, p, a)
}

func (s *Store) writeSeats(ctx context.Context, p *roundTrip, d *decision) error {
	if len(d.seats) == 0 {
		return nil
	}
	a := &db.SeatWriteManyParams{}
	for at, o := range d.seats {
		a.UserID = append(a.UserID, at.user)
		a.OrgID = append(a.OrgID, at.org)
		a.MembershipID = append(a.MembershipID, o.id)
		a.MembershipCreatedAt = append(a.MembershipCreatedAt, time.UnixMilli(o.createdAt))
	}
	return s.q.SeatWriteMany(ctx, p, a)
}
