package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
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
	candidates map[key]*candidate
	keys       []key // sorted
}

// newBatch collects what the changes say: of their entities, of the parents that
// memberships name, and of seats. The latter two take part whether or not the
// membership itself wins; so what becomes of them does not depend on the order of
// arrival.
func newBatch(entries []Entry) *batch {
	b := &batch{candidates: make(map[key]*candidate, len(entries))}
	for _, e := range entries {
		c := e.Change
		b.add(key{c.Kind, c.ID}, candidate{version: c.Version, seq: e.Seq, change: c})
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
	if len(entries) == 0 {
		return nil, nil
	}
	var outcomes []Outcome
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		b := newBatch(entries)
		if err := s.advanceHeads(ctx, tx, b); err != nil {
			return err
		}
		// The rows are written parents first, because of the foreign keys.
		if err := s.writeUsers(ctx, tx, b); err != nil {
			return err
		}
		if err := s.writeOrganizations(ctx, tx, b); err != nil {
			return err
		}
		if err := s.writeMemberships(ctx, tx, b); err != nil {
			return err
		}
		var err error
		outcomes, err = s.outcomes(ctx, tx, b, entries)
		return err
	})
	if err != nil {
		return nil, wrap("apply batch", err)
	}
	return outcomes, nil
}

// advanceHeads moves the heads forward and marks the candidates that won.
func (s *Store) advanceHeads(ctx context.Context, tx pgx.Tx, b *batch) error {
	p := &db.HeadAdvanceManyParams{
		Kinds:      make([]string, 0, len(b.keys)),
		ClerkIds:   make([]string, 0, len(b.keys)),
		Deleteds:   make([]bool, 0, len(b.keys)),
		UpdatedAts: make([]time.Time, 0, len(b.keys)),
		EventAts:   make([]time.Time, 0, len(b.keys)),
		EventIds:   make([]string, 0, len(b.keys)),
		EventSeqs:  make([]int64, 0, len(b.keys)),
	}
	for _, k := range b.keys {
		c := b.candidates[k]
		p.Kinds = append(p.Kinds, string(k.kind))
		p.ClerkIds = append(p.ClerkIds, k.id)
		p.Deleteds = append(p.Deleteds, c.version.Deleted)
		p.UpdatedAts = append(p.UpdatedAts, time.UnixMilli(c.version.UpdatedAt))
		p.EventAts = append(p.EventAts, time.UnixMilli(c.version.EventAt))
		p.EventIds = append(p.EventIds, c.version.EventID)
		p.EventSeqs = append(p.EventSeqs, int64(c.seq))
	}
	winners, err := s.q.HeadAdvanceMany(ctx, tx, p)
	if err != nil {
		return err
	}
	for _, w := range winners {
		b.candidates[key{clerk.Kind(w.Kind), w.ClerkID}].won = true
	}
	return nil
}

// outcomes tells what became of every entry.
func (s *Store) outcomes(ctx context.Context, tx pgx.Tx, b *batch, entries []Entry) ([]Outcome, error) {
	heads := make(map[key]clerk.Version) // of the keys that lost
	var lost db.HeadGetManyParams
	for _, k := range b.keys {
		if c := b.candidates[k]; c.change != nil && !c.won {
			lost.Kinds = append(lost.Kinds, string(k.kind))
			lost.ClerkIds = append(lost.ClerkIds, k.id)
		}
	}
	if len(lost.ClerkIds) > 0 {
		rows, err := s.q.HeadGetMany(ctx, tx, &lost)
		if err != nil {
			return nil, err
		}
		for _, h := range rows {
			heads[key{clerk.Kind(h.Kind), h.ClerkID}] = clerk.Version{
				Deleted: h.Deleted, UpdatedAt: h.UpdatedAt.UnixMilli(), EventAt: h.EventAt.UnixMilli(), EventID: h.EventID,
			}
		}
	}
	outcomes := make([]Outcome, len(entries))
	for i, e := range entries {
		k := key{e.Change.Kind, e.Change.ID}
		best := b.candidates[k]
		switch head, isLost := heads[k]; {
		case best.won && best.change == e.Change:
			outcomes[i] = Applied
		case best.won && best.version == e.Change.Version, isLost && head == e.Change.Version:
			outcomes[i] = Duplicate
		default:
			outcomes[i] = Stale
		}
	}
	return outcomes, nil
}
