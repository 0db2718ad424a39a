package store

import (
	"bytes"
	"context"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Action is what would happen to a row.
type Action string

// The actions.
const (
	Created   Action = "created"
	Updated   Action = "updated"
	Deleted   Action = "deleted" // of a user or an organization: the row becomes a tombstone
	Removed   Action = "removed" // of a membership: the row goes
	Unchanged Action = "unchanged"
)

// Planned is what would become of the row of an entity.
type Planned struct {
	Kind    clerk.Kind
	ID      string // Clerk id
	Action  Action
	Columns []string // those that would differ, in the order of the table; none when the row is new or goes
}

// Plan tells what Apply, or Reapply, would do: the outcomes, and what would become
// of the rows of the entities that winning entries are about, in the order of kind
// and id. It does all of it, and takes it back. So it waits for batches that are
// being applied, and what one Plan tells does not count for the next.
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
	defer tx.Rollback(ctx) // or, when that fails, the connection is closed
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

// column is a column of a row, its value as JSON.
type column struct {
	name  string
	value []byte
}

// readRows reads the rows of the entities that winning entries are about.
func (s *Store) readRows(ctx context.Context, tx pgx.Tx, b *batch) (map[key][]column, error) {
	p := &db.RowGetManyParams{}
	for _, k := range b.keys {
		if c := b.candidates[k]; c.won && c.change != nil {
			p.Kind, p.ClerkID = append(p.Kind, string(k.kind)), append(p.ClerkID, k.id)
		}
	}
	found, err := s.q.RowGetMany(ctx, tx, p)
	if err != nil {
		return nil, err
	}
	rows := make(map[key][]column, len(found))
	for _, r := range found {
		columns, err := readColumns(r.Columns)
		if err != nil {
			return nil, fmt.Errorf("read row: %w", err)
		}
		rows[key{clerk.Kind(r.Kind), r.ClerkID}] = columns
	}
	return rows, nil
}

// readColumns reads the members of a JSON object in their order.
func readColumns(object []byte) ([]column, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	var columns []column
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		c := column{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		c.value = bytes.Clone(value)
		columns = append(columns, c)
	}
	return columns, nil
}

// compareRows tells what happened to a row; nil stands for none.
func compareRows(before, after []column) (Action, []string) {
	deleted := func(row []column) bool {
		for _, c := range row {
			if c.name == "deleted_at" {
				return string(c.value) != "null"
			}
		}
		return false
	}
	var differ []string
	for i := range min(len(before), len(after)) {
		if !bytes.Equal(before[i].value, after[i].value) {
			differ = append(differ, before[i].name)
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
