package store

import (
	"cmp"
	"maps"
	"slices"

	"github.com/clerksync/clerksync/internal/clerk"
)

// key names a head. Its fields are in lock order.
type key struct {
	kind clerk.Kind
	id   string
}

func userKey(id string) key { return key{clerk.KindUser, id} }
func orgKey(id string) key  { return key{clerk.KindOrganization, id} }

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id))
}

// seat is one user's place in one organization, by Clerk ids.
type seat struct{ user, org string }

func seatOf(m *clerk.Membership) seat { return seat{m.UserID, m.OrgID} }

// occupant is the membership that has a seat.
type occupant struct {
	id        string // Clerk id
	createdAt int64  // ms
}

// after reports whether a membership was created after another. Of two that were created in
// the same millisecond the greater id counts as the later one.
func (o occupant) after(other occupant) bool {
	return cmp.Or(cmp.Compare(o.createdAt, other.createdAt), cmp.Compare(o.id, other.id)) > 0
}

// batch is the work of one transaction.
type batch struct {
	entries []Entry
	reapply bool // equal versions win too
	restore *key // a tombstone to lift: the heads of all entries are compared as if they were at version zero

	about map[key]*candidates
	keys  []key             // of about, sorted
	seats map[seat]occupant // the best of the batch

	// What a former attempt found to matter: heads to lock that the batch is not about, or
	// must not share; and addresses to decide.
	extra     map[key]bool
	addresses map[string]bool
}

// candidates are what a batch has for one head.
type candidates struct {
	entries []Entry
	stub    *Entry // the first whose membership names the entity, nil when there is none
}

// winner is a version that is greater than the head's.
type winner struct {
	id      string // Clerk id
	version clerk.Version
	seq     uint64
	change  *clerk.Change // nil for a stub
}

// newBatch collects the candidates for entities, for the parents that memberships name,
// and for seats. Parents and seats take part whether or not the membership itself wins,
// so that the order of arrival does not matter to them.
func newBatch(entries []Entry, reapply bool) *batch {
	b := &batch{
		entries: entries, reapply: reapply, about: make(map[key]*candidates, len(entries)), seats: make(map[seat]occupant),
		extra: make(map[key]bool), addresses: make(map[string]bool),
	}
	for _, e := range entries {
		c := b.candidates(e.key())
		c.entries = append(c.entries, e)
		m := e.Change.Membership
		if m == nil {
			continue
		}
		for _, parent := range []key{userKey(m.UserID), orgKey(m.OrgID)} {
			if c := b.candidates(parent); c.stub == nil {
				c.stub = &e
			}
		}
		o := occupant{e.Change.ID, m.CreatedAt}
		if best, ok := b.seats[seatOf(m)]; !ok || o.after(best) {
			b.seats[seatOf(m)] = o
		}
	}
	slices.SortFunc(b.keys, compareKeys)
	return b
}

func (b *batch) candidates(k key) *candidates {
	c := b.about[k]
	if c == nil {
		c = new(candidates)
		b.about[k] = c
		b.keys = append(b.keys, k)
	}
	return c
}

// locks returns the heads to lock, in lock order.
func (b *batch) locks() []key {
	if len(b.extra) == 0 {
		return b.keys
	}
	keys := slices.AppendSeq(slices.Clone(b.keys), maps.Keys(b.extra))
	slices.SortFunc(keys, compareKeys)
	return slices.Compact(keys)
}

// shares reports whether a batch leaves the head of a key as it is, so that others can do
// the same: the organization of memberships. Their user's is not shared, since it protects
// the seats.
func (b *batch) shares(k key) bool {
	return k.kind == clerk.KindOrganization && len(b.about[k].entries) == 0 && !b.reapply && !b.extra[k]
}

// users returns the users whose rows can change, and the addresses that they claim. The row
// of a stub changes when it is made, and when it is made again.
func (b *batch) users() (ids, addresses []string) {
	for _, k := range b.keys {
		entries := b.about[k].entries
		if k.kind != clerk.KindUser || len(entries) == 0 && !b.reapply {
			continue
		}
		ids = append(ids, k.id)
		for _, e := range entries {
			if u := e.Change.User; u != nil && u.PrimaryEmail != "" {
				addresses = append(addresses, u.PrimaryEmail)
			}
		}
	}
	return ids, slices.AppendSeq(addresses, maps.Keys(b.addresses))
}
