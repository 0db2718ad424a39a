package store

import (
	"context"
	"fmt"
	"slices"

	"github.com/clerksync/clerksync/internal/clerk"
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
	k := key{kind, id}
	if !slices.ContainsFunc(entries, func(e Entry) bool { return e.key() == k && !e.Change.Version.Deleted }) {
		return nil, fmt.Errorf("%s: no event to restore it from", doing)
	}
	// Equal versions win: the heads of parents that are stubs are made before their rows.
	b := newBatch(entries, true)
	b.restore = &k
	return s.commit(ctx, doing, b)
}
