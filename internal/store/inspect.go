package store

import (
	"context"
	"time"

	"github.com/clerksync/clerksync/internal/store/db"
)

// OldestVersion is the oldest PostgreSQL that is supported.
const OldestVersion = 15

// Inspection is what the database is like.
type Inspection struct {
	*db.ServerGetRow
	SchemaExists bool
	ClockOff     time.Duration                 // how far its clock is ahead of ours
	Missing      []*db.PrivilegeMissingListRow // on tables that are there
}

// Inspect looks at the server, and at what may be done there.
func (s *Store) Inspect(ctx context.Context) (*Inspection, error) {
	if err := s.Ping(ctx); err != nil { // a connection made meanwhile would count as its clock
		return nil, err
	}
	asked := time.Now()
	server, err := s.q.ServerGet(ctx, s.pool)
	if err != nil {
		return nil, wrap("ask PostgreSQL", err)
	}
	i := &Inspection{ServerGetRow: server, SchemaExists: server.Schema != "", ClockOff: server.At.Sub(asked.Add(time.Since(asked) / 2))}
	if !i.SchemaExists {
		i.Schema = s.schema
	}
	if i.Missing, err = s.q.PrivilegeMissingList(ctx, s.pool, tableNames()); err != nil {
		return nil, wrap("ask PostgreSQL for privileges", err)
	}
	return i, nil
}
