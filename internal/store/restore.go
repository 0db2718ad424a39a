package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Restore lifts the tombstone of an entity and restores its row and its memberships.
// entries are the newest event of the entity that is no delete, and the newest one of
// each membership that was live when the entity was deleted. The rows are then as if
// none of them had been deleted. A delete that Clerk emitted before now does not count
// again.
//
// The error is [ErrNotDeleted] when the entity is not deleted. Events that were stored
// after the entries were read must be applied again afterwards: they may have been stale
// against the tombstone.
func (s *Store) Restore(ctx context.Context, kind clerk.Kind, id string, entries []Entry) ([]Outcome, error) {
	doing := "restore " + id
	lower := make(map[clerk.Kind][]string)
	about := false
	for _, e := range entries {
		if c := e.Change; !c.Version.Deleted {
			lower[c.Kind] = append(lower[c.Kind], c.ID)
			about = about || c.Kind == kind && c.ID == id
		}
	}
	if !about {
		return nil, fmt.Errorf("%s: no event to restore it from", doing)
	}
	// Equal versions win: the heads of parents that are stubs are made before their rows.
	b := newBatch(entries, true)
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.lockHeads(ctx, tx, b); err != nil {
			return err
		}
		h, err := s.q.HeadGet(ctx, tx, &db.HeadGetParams{Kind: string(kind), ClerkID: id})
		if err != nil {
			return err
		}
		if !h.Deleted {
			return ErrNotDeleted
		}
		for kind, ids := range lower {
			if err := s.q.HeadLowerMany(ctx, tx, &db.HeadLowerManyParams{Kind: string(kind), ClerkID: ids}); err != nil {
				return err
			}
		}
		if err := s.advanceHeads(ctx, tx, b); err != nil {
			return err
		}
		return s.writeRows(ctx, tx, b)
	})
	if err != nil {
		return nil, wrap(doing, err)
	}
	return b.outcomes(), nil
}

// lockHeads locks all heads of a batch in lock order. It creates those that are missing,
// by passing the gate at version zero, where nothing else wins.
func (s *Store) lockHeads(ctx context.Context, tx pgx.Tx, b *batch) error {
	zero := &batch{keys: b.keys, candidates: make(map[key]*candidate, len(b.keys))}
	for _, k := range b.keys {
		zero.candidates[k] = &candidate{}
	}
	return s.passGate(ctx, tx, zero, zero.keys)
}
