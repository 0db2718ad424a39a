package store

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Outcome says what applying an event did.
type Outcome string

// The outcomes. The projector decides Ignored and Dead; the five belong together.
const (
	Applied   Outcome = "applied"
	Stale     Outcome = "stale"     // the head has a newer version
	Duplicate Outcome = "duplicate" // the head has this version
	Ignored   Outcome = "ignored"   // events of this type are not synced
	Dead      Outcome = "dead"      // it can never be applied
)

// Outcomes lists them all.
var Outcomes = []Outcome{Applied, Stale, Duplicate, Ignored, Dead}

// Entry is a change and its position in the log.
type Entry struct {
	Change *clerk.Change
	Seq    uint64 // sequence in the log
}

func (e Entry) key() key { return key{e.Change.Kind, e.Change.ID} }

// kindSeat is the kind of a seat: one user in one organization, see sql/.
const kindSeat clerk.Kind = "seat"

// key names a head. Its fields are in lock order.
type key struct {
	kind clerk.Kind
	id   string
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id))
}

// candidate is the version that a batch has for a head.
type candidate struct {
	version clerk.Version
	seq     uint64
	change  *clerk.Change // nil for a parent and for a seat
	won     bool
}

// batch is the work of one Apply: the greatest version of every head that the changes
// touch.
type batch struct {
	entries    []Entry
	reapply    bool // equal versions win too
	candidates map[key]*candidate
	keys       []key        // sorted
	heads      map[key]head // of the changes that lost
}

// newBatch collects the candidates for entities, for the parents that memberships name,
// and for seats. Parents and seats take part whether or not the membership itself wins,
// so that the order of arrival does not matter to them.
func newBatch(entries []Entry, reapply bool) *batch {
	b := &batch{entries: entries, reapply: reapply, candidates: make(map[key]*candidate, len(entries)), heads: make(map[key]head)}
	for _, e := range entries {
		c := e.Change
		b.add(e.key(), candidate{version: c.Version, seq: e.Seq, change: c})
		if m := c.Membership; m != nil {
			b.add(key{clerk.KindUser, m.UserID}, candidate{seq: e.Seq})
			b.add(key{clerk.KindOrganization, m.OrgID}, candidate{seq: e.Seq})
			b.add(seat(m), candidate{version: clerk.Version{UpdatedAt: m.CreatedAt, EventID: c.ID}, seq: e.Seq})
		}
	}
	b.keys = slices.SortedFunc(maps.Keys(b.candidates), compareKeys)
	return b
}

func seat(m *clerk.Membership) key { return key{kindSeat, m.UserID + "/" + m.OrgID} }

func (b *batch) add(k key, c candidate) {
	if best, ok := b.candidates[k]; !ok || c.version.Compare(best.version) > 0 {
		b.candidates[k] = &c
	}
}

// won yields the winners of a kind, in the order of the keys.
func (b *batch) won(kind clerk.Kind) func(yield func(string, *candidate) bool) {
	return func(yield func(string, *candidate) bool) {
		for _, k := range b.keys {
			if c := b.candidates[k]; k.kind == kind && c.won && !yield(k.id, c) {
				return
			}
		}
	}
}

// Apply applies changes in one transaction and returns the outcome of each. It is
// idempotent, and the order of the changes does not matter.
//
// The error is [ErrRefused] when PostgreSQL refuses the content of a change; any other
// error is temporary. On an error nothing was changed.
func (s *Store) Apply(ctx context.Context, entries []Entry) ([]Outcome, error) {
	return s.apply(ctx, newBatch(entries, false))
}

// Reapply is Apply that also writes the rows of versions equal to the head: for a
// projection whose code changed.
func (s *Store) Reapply(ctx context.Context, entries []Entry) ([]Outcome, error) {
	return s.apply(ctx, newBatch(entries, true))
}

func (s *Store) apply(ctx context.Context, b *batch) ([]Outcome, error) {
	if len(b.entries) == 0 {
		return nil, nil
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.advanceHeads(ctx, tx, b); err != nil {
			return err
		}
		return s.writeRows(ctx, tx, b)
	})
	if err != nil {
		return nil, wrap("apply batch", err)
	}
	return b.outcomes(), nil
}

// writeRows writes what follows from the heads that were advanced.
func (s *Store) writeRows(ctx context.Context, tx pgx.Tx, b *batch) error {
	for _, t := range tables {
		if err := t.write(s, ctx, tx, b); err != nil {
			return err
		}
	}
	return nil
}

// outcomes returns the outcome of every entry.
func (b *batch) outcomes() []Outcome {
	outcomes := make([]Outcome, len(b.entries))
	for i, e := range b.entries {
		best := b.candidates[e.key()]
		newest := best.version
		if !best.won {
			newest = b.heads[e.key()].version
		}
		switch {
		case best.won && best.change == e.Change:
			outcomes[i] = Applied
		case newest == e.Change.Version:
			outcomes[i] = Duplicate
		default:
			outcomes[i] = Stale
		}
	}
	return outcomes
}
