package store

import (
	"fmt"

	"github.com/clerksync/clerksync/internal/clerk"
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
	id     string
	claim  claim
	holds  string // the address in users.email, "" for none
	ranked bool   // it has a rank, as users that wait for their address do
}

// edited reports whether a row is not as clerksync writes it: an operator has written it, or
// an older clerksync.
func (c claimant) edited() bool { return c.holds != c.claim.address && (c.holds != "" || !c.ranked) }

// emails are the changes to users.email when a batch of users is written. The column is
// unique though two users may claim one address: a changed address can overtake the
// change that freed it.
type emails struct {
	release map[string]string // ranks by Clerk id of users that lose their address, before any row is written
	held    map[string]string // addresses that users of the batch hold, by Clerk id
	grant   []string          // users outside the batch that get the address they claim, after all rows are written
}

// claim decides which users hold the addresses that users of the batch claim, or claimed or
// held before. It returns true when the users outside the batch that this depends on are not
// all locked, or not all known: it then adds them to what is locked, and looked for.
//
// So the head of an address's holder is the lock of the address: whoever claims it, gives it
// up or takes it has that head. An address without a holder has no claimants, and of two
// batches that claim it first, the unique index lets one through.
//
// A user that holds another address than it claims was edited by hand. It loses it and
// waits for the address that it claims, and both addresses are decided.
func (b *batch) claim(d *decision, f *found) (more bool) {
	if len(d.users) == 0 {
		return false
	}
	claims := make(map[string]claim, len(d.users))
	decided := make(map[string]bool, len(d.users)) // addresses
	for a := range b.addresses {
		decided[a] = true
	}
	for _, w := range d.users {
		c := claim{version: w.version}
		if w.change != nil && w.change.User != nil {
			c.address = w.change.User.PrimaryEmail
		}
		claims[w.id], decided[c.address] = c, true
	}
	for _, c := range f.claimants {
		if _, ours := claims[c.id]; ours {
			decided[c.claim.address], decided[c.holds] = true, true
		}
	}
	delete(decided, "")
	var involved []claimant
	for _, c := range f.claimants {
		if !decided[c.claim.address] && !decided[c.holds] {
			continue // of an event that lost
		}
		involved = append(involved, c)
		k := userKey(c.id)
		if _, locked := f.heads[k]; !locked && !b.extra[k] {
			b.extra[k], more = true, true
		}
		for _, a := range []string{c.claim.address, c.holds} {
			if c.edited() && a != "" && !decided[a] {
				b.addresses[a], more = true, true
			}
		}
	}
	if !more {
		d.emails = decideEmails(claims, involved)
	}
	return more
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
		if c.live() && holders[c.address].id == id {
			e.held[id] = c.address
		}
	}
	for _, c := range claimants {
		_, ours := claims[c.id]
		wins := c.claim.live() && holders[c.claim.address].id == c.id
		switch {
		case ours && c.holds != "" && c.holds != e.held[c.id],
			!ours && c.edited(),
			!ours && c.holds != "" && !wins:
			e.release[c.id] = c.claim.rank()
		}
		if !ours && wins && c.holds != c.claim.address {
			e.grant = append(e.grant, c.id)
		}
	}
	return e
}
