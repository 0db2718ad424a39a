package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// claim is a user's claim to an address, "" for none.
type claim struct {
	address string
	version clerk.Version
}

// claimant is a user that claims an address according to the table.
type claimant struct {
	id    string
	claim claim
	holds bool // its email is set
}

// emails are the changes to users.email when a batch of users is written. The column is
// unique though two users may claim one address: a changed address can overtake the
// change that freed it.
type emails struct {
	release []string          // users that lose their address, before any row is written
	held    map[string]string // addresses that users of the batch hold, by Clerk id
	grant   []string          // users outside the batch that get the address they claim, after all rows are written
}

// resolveEmails decides which users hold the addresses that users of the batch claim or
// claimed before.
func (s *Store) resolveEmails(ctx context.Context, tx pgx.Tx, ids, addresses []string, claims map[string]claim) (emails, error) {
	if err := s.q.UserEmailLockMany(ctx, tx, &db.UserEmailLockManyParams{Address: addresses, ClerkID: ids}); err != nil {
		return emails{}, err
	}
	rows, err := s.q.UserEmailClaimMany(ctx, tx, &db.UserEmailClaimManyParams{Address: addresses, ClerkID: ids})
	if err != nil {
		return emails{}, err
	}
	claimants := make([]claimant, len(rows))
	for i, r := range rows {
		claimants[i] = claimant{id: r.ClerkID, holds: r.Holds, claim: claim{r.Address, clerk.Version{
			Deleted: r.Deleted, UpdatedAt: r.UpdatedAt.UnixMilli(), EventAt: r.EventAt.UnixMilli(), EventID: r.EventID,
		}}}
	}
	return decideEmails(claims, claimants), nil
}

// decideEmails gives every address to the live claimant with the greatest version.
// claims are the new claims of the users of the batch; claimants are all that the table
// has for these addresses, users of the batch with their former claim among them.
func decideEmails(claims map[string]claim, claimants []claimant) emails {
	type holder struct {
		id      string
		version clerk.Version
	}
	holders := make(map[string]holder, len(claims))
	bid := func(id string, c claim) {
		h, taken := holders[c.address]
		// Two users' events share a version only when made by hand. The id then
		// decides, so that every order gives the same result.
		if d := c.version.Compare(h.version); c.address != "" && (!taken || d > 0 || d == 0 && id > h.id) {
			holders[c.address] = holder{id, c.version}
		}
	}
	for id, c := range claims {
		if !c.version.Deleted {
			bid(id, c)
		}
	}
	for _, c := range claimants {
		if _, ours := claims[c.id]; !ours && !c.claim.version.Deleted {
			bid(c.id, c.claim)
		}
	}

	e := emails{held: make(map[string]string, len(claims))}
	for id, c := range claims {
		if holders[c.address].id == id {
			e.held[id] = c.address
		}
	}
	for _, c := range claimants {
		_, ours := claims[c.id]
		switch {
		case ours && c.holds && e.held[c.id] != c.claim.address,
			!ours && c.holds && holders[c.claim.address].id != c.id:
			e.release = append(e.release, c.id)
		case !ours && !c.holds && holders[c.claim.address].id == c.id:
			e.grant = append(e.grant, c.id)
		}
	}
	return e
}
