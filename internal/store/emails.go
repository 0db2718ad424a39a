package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// claim is a user's claim to an address, "" for none.
type claim struct {
	address string
	version clerk.Version
}

// live reports whether the claim counts.
func (c claim) live() bool { return c.address != "" && !c.version.Deleted }

// rank returns the value of users.email_rank for a user that waits for its address: its
// version in a form that sorts as text, "" when the claim does not count.
func (c claim) rank() string {
	if !c.live() {
		return ""
	}
	const sign = 1 << 63 // so that negative times sort first
	return fmt.Sprintf("%016x%016x%s", uint64(c.version.UpdatedAt)^sign, uint64(c.version.EventAt)^sign, c.version.EventID)
}

// claimant is a user that holds or claims an address according to the table.
type claimant struct {
	id    string
	claim claim
	holds bool // its email is the address that it claims
}

// emails are the changes to users.email when a batch of users is written. The column is
// unique though two users may claim one address: a changed address can overtake the
// change that freed it.
type emails struct {
	release map[string]string // ranks by Clerk id of users that lose their address, before any row is written
	held    map[string]string // addresses that users of the batch hold, by Clerk id
	grant   []string          // users outside the batch that get the address they claim, after all rows are written
}

// resolveEmails decides which users hold the addresses that users of the batch claim, or
// claimed or held before.
//
// A user that holds another address than it claims was edited by hand. It loses it and
// waits for the address that it claims, and both addresses are decided too. Only then are
// more locks taken, and not in one order: two such users at once can deadlock, which is
// retried.
func (s *Store) resolveEmails(ctx context.Context, tx pgx.Tx, ids, addresses []string, claims map[string]claim) (emails, error) {
	repaired := make(map[string]bool)
	for {
		if err := s.q.UserEmailLockMany(ctx, tx, &db.UserEmailLockManyParams{Address: addresses, ClerkID: ids}); err != nil {
			return emails{}, err
		}
		rows, err := s.q.UserEmailFindMany(ctx, tx, &db.UserEmailFindManyParams{Address: addresses, ClerkID: ids})
		if err != nil {
			return emails{}, err
		}
		claimants := make([]claimant, 0, len(rows))
		repair := make(map[string]string)
		var more []string
		for _, r := range rows {
			c := claim{r.PrimaryEmail, clerk.Version{
				Deleted: r.Deleted, UpdatedAt: r.UpdatedAt.UnixMilli(), EventAt: r.EventAt.UnixMilli(), EventID: r.EventID,
			}}
			holds := r.Email != "" && r.Email == r.PrimaryEmail
			_, ours := claims[r.ClerkID]
			switch {
			case repaired[r.ClerkID]: // and edited again, by a trigger
				claimants = append(claimants, claimant{r.ClerkID, c, holds})
			case !holds && r.Email != "":
				repair[r.ClerkID] = c.rank()
				more = append(more, r.Email, r.PrimaryEmail)
			case !holds && !ours && !r.Ranked: // an operator or an older clerksync wrote the row
				repair[r.ClerkID] = c.rank()
			default:
				claimants = append(claimants, claimant{r.ClerkID, c, holds})
			}
		}
		if len(repair) == 0 {
			return decideEmails(claims, claimants), nil
		}
		if err := s.releaseEmails(ctx, tx, repair); err != nil {
			return emails{}, err
		}
		for id := range repair {
			repaired[id] = true
		}
		addresses = slices.Concat(addresses, more)
	}
}

// releaseEmails takes their address from users and gives them ranks.
func (s *Store) releaseEmails(ctx context.Context, tx pgx.Tx, ranks map[string]string) error {
	object, err := json.Marshal(ranks)
	if err != nil {
		return err
	}
	return s.q.UserEmailRelease(ctx, tx, &db.UserEmailReleaseParams{Ranks: object, ClerkID: slices.Collect(maps.Keys(ranks))})
}

// decideEmails gives every address to the live claimant with the greatest version.
// claims are the new claims of the users of the batch. claimants are the holders of these
// addresses according to the table, users of the batch with their former claim among them,
// and of those that wait at least the best outside the batch.
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
		if d := c.version.Compare(h.version); c.live() && (!taken || d > 0 || d == 0 && id > h.id) {
			holders[c.address] = holder{id, c.version}
		}
	}
	for id, c := range claims {
		bid(id, c)
	}
	for _, c := range claimants {
		if _, ours := claims[c.id]; !ours {
			bid(c.id, c.claim)
		}
	}

	e := emails{release: make(map[string]string), held: make(map[string]string, len(claims))}
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
			e.release[c.id] = c.claim.rank()
		case !ours && !c.holds && holders[c.claim.address].id == c.id:
			e.grant = append(e.grant, c.id)
		}
	}
	return e
}
