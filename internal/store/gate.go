package store

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// head is what is read of a stored head, to compare a change that lost with it.
type head struct {
	version    clerk.Version
	restoredAt *time.Time
}

// lifted reports whether a version is a delete from before the entity was restored.
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

// passGate compares the candidates of the given keys, which are sorted, with the heads.
func (s *Store) passGate(ctx context.Context, tx pgx.Tx, b *batch, keys []key) error {
	p := &db.HeadAdvanceManyParams{
		Kind:      make([]string, 0, len(keys)),
		ClerkID:   make([]string, 0, len(keys)),
		Deleted:   make([]bool, 0, len(keys)),
		UpdatedAt: make([]time.Time, 0, len(keys)),
		EventAt:   make([]time.Time, 0, len(keys)),
		EventID:   make([]string, 0, len(keys)),
		EventSeq:  make([]int64, 0, len(keys)),
		Reapply:   b.reapply,
	}
	for _, k := range keys {
		c := b.candidates[k]
		p.Kind = append(p.Kind, string(k.kind))
		p.ClerkID = append(p.ClerkID, k.id)
		p.Deleted = append(p.Deleted, c.version.Deleted)
		p.UpdatedAt = append(p.UpdatedAt, time.UnixMilli(c.version.UpdatedAt))
		p.EventAt = append(p.EventAt, time.UnixMilli(c.version.EventAt))
		p.EventID = append(p.EventID, c.version.EventID)
		p.EventSeq = append(p.EventSeq, int64(c.seq))
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

// readLost reads the heads that changes lost against: they tell stale from duplicate.
func (s *Store) readLost(ctx context.Context, tx pgx.Tx, b *batch) error {
	var lost db.HeadGetManyParams
	for _, k := range b.keys {
		if c := b.candidates[k]; c.change != nil && !c.won {
			lost.Kind = append(lost.Kind, string(k.kind))
			lost.ClerkID = append(lost.ClerkID, k.id)
		}
	}
	if len(lost.ClerkID) == 0 {
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

// secondChances takes, for each delete that lost because a restore lifted it, the next
// best change of the batch instead, which may still be newer than the head. It returns the
// keys, sorted.
func (b *batch) secondChances() []key {
	var keys []key
	for _, k := range b.keys {
		h := b.heads[k] // zero for a winner
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
