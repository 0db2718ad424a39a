package store

import (
	"errors"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
)

// decision is what becomes of a batch: the outcomes, and what is written.
type decision struct {
	outcomes []Outcome
	won      []key             // entities that an event changes, sorted
	heads    []written         // those that change and were not inserted, in lock order
	seats    map[seat]occupant // those that are taken: the rows of other memberships go

	// The rows to write.
	users         []winner
	organizations []winner
	memberships   []winner // live ones
	left          []string // memberships that were deleted, by Clerk id
	emails        emails
}

// written is a head to write.
type written struct {
	key     key
	version clerk.Version
	seq     uint64
	lifted  bool // it was a tombstone, and is restored
}

// errMoreLocks means that the batch has to begin again, since it added to its locks.
var errMoreLocks = errors.New("more has to be locked")

// decide compares a batch with what stands in the tables. It does no I/O: this is where the
// order of events is decided, and nowhere else.
func (b *batch) decide(f *found) (*decision, error) {
	if b.restore != nil && !f.heads[*b.restore].version.Deleted {
		return nil, ErrNotDeleted
	}
	d := &decision{seats: make(map[seat]occupant)}
	newest := make(map[key]winner, len(b.keys)) // of every head, as it will be
	more := false
	for _, k := range b.keys {
		h := f.heads[k]
		lifted := false
		if b.restore != nil && len(b.about[k].entries) > 0 && !h.inserted {
			lifted = h.version.Deleted
			h.version = clerk.Version{}
		}
		w, won := b.winner(k, h)
		newest[k] = w
		switch {
		case won && b.shares(k) && !h.inserted: // a stub, of a head that a verify made
			b.extra[k], more = true, true
		case (won || h.erased) && !h.inserted:
			d.heads = append(d.heads, written{k, w.version, w.seq, lifted})
		}
		if won && w.change != nil {
			d.won = append(d.won, k)
		}
		switch {
		case !won:
		case k.kind == clerk.KindUser:
			d.users = append(d.users, w)
		case k.kind == clerk.KindOrganization:
			d.organizations = append(d.organizations, w)
		case w.version.Deleted:
			d.left = append(d.left, w.id)
		default:
			d.memberships = append(d.memberships, w) // for now
		}
	}
	for at, o := range b.seats {
		before, taken := f.seats[at]
		if taken && !o.after(before) && (o != before || !b.reapply) {
			continue
		}
		d.seats[at], f.seats[at] = o, o
	}
	// A membership is live if its user and its organization are, and it has the seat.
	live := d.memberships[:0]
	for _, w := range d.memberships {
		m := w.change.Membership
		if !newest[userKey(m.UserID)].version.Deleted && !newest[orgKey(m.OrgID)].version.Deleted && f.seats[seatOf(m)].id == w.id {
			live = append(live, w)
		}
	}
	d.memberships = live
	if b.claim(d, f) || more {
		return nil, errMoreLocks
	}
	d.outcomes = b.outcomes(newest)
	return d, nil
}

// winner returns the newest version of an entity: the greatest of its candidates, if it wins
// against the head, otherwise the head's.
func (b *batch) winner(k key, h head) (w winner, won bool) {
	w = winner{id: k.id, version: h.version, seq: h.seq}
	c := b.about[k]
	try := func(v clerk.Version, seq uint64, change *clerk.Change) {
		if d := v.Compare(w.version); d > 0 || !won && (h.inserted || d == 0 && b.reapply) {
			w, won = winner{k.id, v, seq, change}, true
		}
	}
	if c.stub != nil {
		try(clerk.Version{}, c.stub.Seq, nil)
	}
	for _, e := range c.entries {
		if !h.undone(e.Change.Version) {
			try(e.Change.Version, e.Seq, e.Change)
		}
	}
	return w, won
}

// undone reports whether a version is a delete from before the entity was restored, which
// does not count again.
func (h head) undone(v clerk.Version) bool {
	return v.Deleted && h.restoredAt != nil && !time.UnixMilli(v.EventAt).After(*h.restoredAt)
}

// outcomes returns the outcome of every entry.
func (b *batch) outcomes(newest map[key]winner) []Outcome {
	outcomes := make([]Outcome, len(b.entries))
	for i, e := range b.entries {
		switch w := newest[e.key()]; {
		case w.change == e.Change:
			outcomes[i] = Applied
		case w.version == e.Change.Version:
			outcomes[i] = Duplicate
		default:
			outcomes[i] = Stale
		}
	}
	return outcomes
}
