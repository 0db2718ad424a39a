package store

import (
	"context"
	"time"

	"github.com/clerksync/clerksync/internal/store/db"
)

// OldestVersion is the oldest PostgreSQL that is supported.
const OldestVersion = 15

// Inspection describes the database server and the rights of the role.
type Inspection struct {
	*db.ServerGetRow
	SchemaExists bool
	ClockOff     time.Duration                 // how far its clock is ahead of ours
	Missing      []*db.PrivilegeMissingListRow // on tables that are there
}

// Inspect reads the settings of the server and the rights of the role.
func (s *Store) Inspect(ctx context.Context) (*Inspection, error) {
	if err := s.Ping(ctx); err != nil { // the time to connect would count as an offset of its clock
		return nil, err
	}
	asked := time.Now()
	server, err := s.q.ServerGet(ctx, s.pool)
	if err != nil {
		return nil, wrap("read server settings", err)
	}
	i := &Inspection{ServerGetRow: server, SchemaExists: server.Schema != "", ClockOff: server.At.Sub(asked.Add(time.Since(asked) / 2))}
	if !i.SchemaExists {
		i.Schema = s.schema
	}
	if i.Missing, err = s.q.PrivilegeMissingList(ctx, s.pool, tableNames()); err != nil {
		return nil, wrap("read privileges", err)
	}
	return i, nil
}
