package store

import (
	"context"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// countedExactly bounds the rows that a count reads: 10,000 are counted in a few
// milliseconds.
const countedExactly = 10_000

// Count is how many entities of a kind are live: those with a row that is no tombstone.
type Count struct {
	Rows  int64 `json:"rows"`
	Exact bool  `json:"exact"` // false for the planner's estimate for a large table
}

// Overview describes the database and its synced tables.
type Overview struct {
	Database string               `json:"database"`
	Version  string               `json:"version"`
	Latency  float64              `json:"latency_seconds"` // of one round trip
	Counts   map[clerk.Kind]Count `json:"counts"`
}

// Overview reads it. The cost does not grow with the tables.
func (s *Store) Overview(ctx context.Context) (*Overview, error) {
	server, err := s.q.ServerName(ctx, s.pool)
	if err != nil {
		return nil, wrap("read server settings", err)
	}
	asked := time.Now()
	if err := s.Ping(ctx); err != nil { // after the first query: the connection is made
		return nil, err
	}
	o := &Overview{Database: server.Database, Version: server.Version, Latency: time.Since(asked).Seconds(), Counts: map[clerk.Kind]Count{}}
	rows, err := s.q.OverviewList(ctx, s.pool, countedExactly+1)
	for _, r := range rows {
		c := Count{Rows: r.Live, Exact: r.Read <= countedExactly}
		if !c.Exact {
			c.Rows = max(r.Live, r.Estimate)
		}
		o.Counts[clerk.Kind(r.Kind)] = c
	}
	return o, wrap("count rows", err)
}

// Heads are heads by the sequence of an event of their entity.
type Heads map[uint64]*db.EntityHead

// HeadsOf returns the head of each event's entity, by the sequence of the event. It leaves
// out an entity of which no event of its own was applied.
func (s *Store) HeadsOf(ctx context.Context, refs []Ref) (Heads, error) {
	p := &db.HeadGetManyParams{}
	for _, r := range refs {
		p.Kind, p.ClerkID = append(p.Kind, string(r.Kind)), append(p.ClerkID, r.ID)
	}
	heads, err := s.q.HeadGetMany(ctx, s.pool, p)
	if err != nil {
		return nil, wrap("read heads", err)
	}
	of := Heads{}
	for _, r := range refs {
		for _, h := range heads {
			if h.Kind == string(r.Kind) && h.ClerkID == r.ID && h.EventID != "" { // no stub
				of[r.Seq] = h
			}
		}
	}
	return of, nil
}

// State returns the state of an entity in one word: live, deleted, stub (known from an
// event about something else), removed (a membership whose row went with its user,
// organization or seat), or unknown.
func (s *Shown) State() string {
	switch {
	case s.Head == nil:
		return "unknown"
	case s.Head.Deleted:
		return "deleted"
	case s.Head.EventID == "":
		return "stub"
	case s.Row == nil:
		return "removed"
	}
	return "live"
}
