package store

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Outcome is what applying an event did.
type Outcome string

// The outcomes. Ignored and Dead are not of this package's making; they are here
// because the five belong together.
const (
	Applied   Outcome = "applied"
	Stale     Outcome = "stale"     // a newer version is there
	Duplicate Outcome = "duplicate" // this very version is there
	Ignored   Outcome = "ignored"   // events of this type are not synced
	Dead      Outcome = "dead"      // can never be applied
)

// Outcomes are all of them.
var Outcomes = []Outcome{Applied, Stale, Duplicate, Ignored, Dead}

// Entry is a change and its place in the log.
type Entry struct {
	Change *clerk.Change
	Seq    uint64 // sequence in the log
}

func (e Entry) key() key { return key{e.Change.Kind, e.Change.ID} }

// kindSeat is the place of one user in one organization, see sql/.
const kindSeat clerk.Kind = "seat"

// key names a head. The fields are in the order in which the heads are locked.
type key struct {
	kind clerk.Kind
	id   string
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.id, b.id))
}

// candidate is what a batch has to say of a head.
type candidate struct {
	version clerk.Version
	seq     uint64
	change  *clerk.Change // nil for a parent and for a seat
	won     bool
}

// batch is the work of one Apply: the greatest version for every head that the
// changes touch.
type batch struct {
	entries    []Entry
	reapply    bool // equal versions win too
	candidates map[key]*candidate
	keys       []key        // sorted
	heads      map[key]head // of the changes that lost
}

// newBatch collects what the changes say: of their entities, of the parents that
// memberships name, and of seats. The latter two take part whether or not the
// membership itself wins; so what becomes of them does not depend on the order of
// arrival.
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

// Apply applies changes in one transaction, and tells for each what it did. The
// order of the changes and whether they were applied before do not matter.
//
// The error is [ErrRefused] when PostgreSQL refuses the content of one of the
// changes; any other error is temporary. Nothing was changed then.
func (s *Store) Apply(ctx context.Context, entries []Entry) ([]Outcome, error) {
	return s.apply(ctx, newBatch(entries, false))
}

// Reapply is Apply, but that it writes the rows of versions that are there already
// once more: for when what is made of an event has changed.
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

// outcomes tells what became of every entry.
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
