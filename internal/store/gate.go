package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// head is what is needed to know of a head that a change has lost against.
type head struct {
	version    clerk.Version
	restoredAt *time.Time
}

// lifted tells whether a version is a delete from before the entity was restored.
// HeadAdvanceMany has the same rule; both must agree.
func (h head) lifted(v clerk.Version) bool {
	return v.Deleted && h.restoredAt != nil && !time.UnixMilli(v.EventAt).After(*h.restoredAt)
}

// advanceHeads moves the heads forward and marks the candidates that won.
func (s *Store) advanceHeads(ctx context.Context, tx pgx.Tx, b *batch) error {
	if err := s.passGate(ctx, tx, b, b.keys); err != nil {
		return err
	}
	if err := s.readLost(ctx, tx, b); err != nil {
		return err
	}
	if second := b.secondChances(); len(second) > 0 {
		return s.passGate(ctx, tx, b, second)
	}
	return nil
}

// passGate has the candidates of the given keys, which are sorted, compared with
// the heads.
func (s *Store) passGate(ctx context.Context, tx pgx.Tx, b *batch, keys []key) error {
	p := &db.HeadAdvanceManyParams{
		Kinds:      make([]string, 0, len(keys)),
		ClerkIds:   make([]string, 0, len(keys)),
		Deleteds:   make([]bool, 0, len(keys)),
		UpdatedAts: make([]time.Time, 0, len(keys)),
		EventAts:   make([]time.Time, 0, len(keys)),
		EventIds:   make([]string, 0, len(keys)),
		EventSeqs:  make([]int64, 0, len(keys)),
		Reapply:    b.reapply,
	}
	for _, k := range keys {
		c := b.candidates[k]
		p.Kinds = append(p.Kinds, string(k.kind))
		p.ClerkIds = append(p.ClerkIds, k.id)
		p.Deleteds = append(p.Deleteds, c.version.Deleted)
		p.UpdatedAts = append(p.UpdatedAts, time.UnixMilli(c.version.UpdatedAt))
		p.EventAts = append(p.EventAts, time.UnixMilli(c.version.EventAt))
		p.EventIds = append(p.EventIds, c.version.EventID)
		p.EventSeqs = append(p.EventSeqs, int64(c.seq))
	}
	rows, err := s.q.HeadAdvanceMany(ctx, tx, p)
	if err != nil {
		return err
	}
	var erased []string
	var again []key
	for _, r := range rows {
		k := key{clerk.Kind(r.Kind), r.ClerkID}
		if r.Erased {
			erased = append(erased, r.ClerkID)
			again = append(again, k)
			continue
		}
		b.candidates[k].won = true
	}
	if len(erased) == 0 {
		return nil
	}
	if err := s.q.EraseUndoMany(ctx, tx, erased); err != nil {
		return err
	}
	slices.SortFunc(again, compareKeys)
	return s.passGate(ctx, tx, b, again)
}

// readLost reads the heads that changes lost against: they tell which are stale
// and which are duplicates.
func (s *Store) readLost(ctx context.Context, tx pgx.Tx, b *batch) error {
	var lost db.HeadGetManyParams
	for _, k := range b.keys {
		if c := b.candidates[k]; c.change != nil && !c.won {
			lost.Kinds = append(lost.Kinds, string(k.kind))
			lost.ClerkIds = append(lost.ClerkIds, k.id)
		}
	}
	if len(lost.ClerkIds) == 0 {
		return nil
	}
	rows, err := s.q.HeadGetMany(ctx, tx, &lost)
	if err != nil {
		return err
	}
	for _, h := range rows {
		b.heads[key{clerk.Kind(h.Kind), h.ClerkID}] = head{restoredAt: h.RestoredAt, version: clerk.Version{
			Deleted: h.Deleted, UpdatedAt: h.UpdatedAt.UnixMilli(), EventAt: h.EventAt.UnixMilli(), EventID: h.EventID,
		}}
	}
	return nil
}

// secondChances replaces the deletes that lost because they do not count any more,
// where the batch has another change that would win: a delete outranks what may
// well be newer than the head. It returns the keys, sorted.
func (b *batch) secondChances() []key {
	var keys []key
	for _, k := range b.keys {
		h := b.heads[k] // of a winner there is none
		if !h.lifted(b.candidates[k].version) {
			continue
		}
		best := candidate{version: h.version}
		for _, e := range b.entries {
			d := e.Change.Version.Compare(best.version)
			if e.key() == k && !h.lifted(e.Change.Version) && (d > 0 || d == 0 && b.reapply && best.change == nil) {
				best = candidate{version: e.Change.Version, seq: e.Seq, change: e.Change}
			}
		}
		if best.change != nil {
			b.candidates[k] = &best
			keys = append(keys, k)
		}
	}
	return keys
}
