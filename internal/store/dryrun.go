package store

import (
	"bytes"
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Action is a change to a row.
type Action string

// The actions.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Deleted   Action = "deleted" // of a user or an organization: the row becomes a tombstone
	Removed   Action = "removed" // of a membership: the row is deleted
	Unchanged Action = "unchanged"
)

// Planned is the change to the row of an entity.
type Planned struct {
	Kind    clerk.Kind
	ID      string // Clerk id
	Action  Action
	Columns []string // those that would differ, in the order of the table; none when the row is created or removed
}

// Plan returns what Apply, or Reapply, would do: the outcomes, and the changes to the rows
// of the entities that win, ordered by kind and id. It applies the batch and rolls back:
// so it waits for the locks of batches in flight, and a second Plan does not see the
// effects of the first.
func (s *Store) Plan(ctx context.Context, entries []Entry, reapply bool) ([]Outcome, []Planned, error) {
	if len(entries) == 0 {
		return nil, nil, nil
	}
	b := newBatch(entries, reapply)
	planned, err := s.plan(ctx, b)
	if err != nil {
		return nil, nil, wrap("plan batch", err)
	}
	return b.outcomes(), planned, nil
}

func (s *Store) plan(ctx context.Context, b *batch) ([]Planned, error) {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback(ctx) // when that fails, pgx closes the connection
	if err := s.advanceHeads(ctx, tx, b); err != nil {
		return nil, err
	}
	before, err := s.readRows(ctx, tx, b)
	if err != nil {
		return nil, err
	}
	if err := s.writeRows(ctx, tx, b); err != nil {
		return nil, err
	}
	after, err := s.readRows(ctx, tx, b)
	if err != nil {
		return nil, err
	}
	var planned []Planned
	for _, k := range b.keys {
		if c := b.candidates[k]; c.won && c.change != nil {
			p := Planned{Kind: k.kind, ID: k.id}
			p.Action, p.Columns = compareRows(before[k], after[k])
			planned = append(planned, p)
		}
	}
	return planned, nil
}

// readRows reads the rows of the entities that win.
func (s *Store) readRows(ctx context.Context, tx pgx.Tx, b *batch) (map[key]Row, error) {
	var keys []key
	for _, k := range b.keys {
		if c := b.candidates[k]; c.won && c.change != nil {
			keys = append(keys, k)
		}
	}
	return s.rowsOf(ctx, tx, keys)
}

// compareRows returns what changed a row, and the columns that differ; nil is no row.
func compareRows(before, after Row) (Action, []string) {
	deleted := func(row Row) bool {
		for _, c := range row {
			if c.Name == "deleted_at" {
				return string(c.Value) != "null"
			}
		}
		return false
	}
	var differ []string
	for i := range min(len(before), len(after)) {
		if !bytes.Equal(before[i].Value, after[i].Value) {
			differ = append(differ, before[i].Name)
		}
	}
	switch {
	case deleted(after) && !deleted(before):
		return Deleted, differ
	case before == nil && after != nil:
		return Created, nil
	case before != nil && after == nil:
		return Removed, nil
	case differ != nil:
		return Updated, differ
	}
	return Unchanged, nil
}
