package store

import (
	"bytes"
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

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
	var outcomes []Outcome
	var planned []Planned
	err := s.transact(ctx, b, func(conn *pgxpool.Conn, d *decision) error {
		before, err := s.rowsOf(ctx, conn, d.won)
		if err != nil {
			return err
		}
		if err := s.write(ctx, conn, d, false); err != nil {
			return err
		}
		after, err := s.rowsOf(ctx, conn, d.won)
		if err != nil {
			return err
		}
		outcomes, planned = d.outcomes, nil
		for _, k := range d.won {
			p := Planned{Kind: k.kind, ID: k.id}
			p.Action, p.Columns = compareRows(before[k], after[k])
			planned = append(planned, p)
		}
		return nil
	})
	if err != nil {
		return nil, nil, wrap("plan batch", err)
	}
	return outcomes, planned, nil
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
