package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Ref names an event and the entity it is about.
type Ref struct {
	Kind clerk.Kind
	ID   string
	Seq  uint64 // sequence in the log
}

// AppliedAt is when events were applied, by their sequences. Those are missing that are
// not applied, or not what made their entity what it is.
func (s *Store) AppliedAt(ctx context.Context, refs []Ref) (map[uint64]time.Time, error) {
	var p db.HeadAppliedManyParams
	for _, r := range refs {
		p.Kind = append(p.Kind, string(r.Kind))
		p.ClerkID = append(p.ClerkID, r.ID)
		p.EventSeq = append(p.EventSeq, int64(r.Seq))
	}
	rows, err := s.q.HeadAppliedMany(ctx, s.pool, &p)
	if err != nil {
		return nil, wrap("read heads", err)
	}
	at := make(map[uint64]time.Time, len(rows))
	for _, r := range rows {
		at[uint64(r.EventSeq)] = r.AppliedAt
	}
	return at, nil
}

// SaveReading keeps how far the rows are behind, for the view sync_lag. What reading is
// made of, the view says.
func (s *Store) SaveReading(ctx context.Context, reading json.RawMessage) error {
	return wrap("write sync_status", s.q.SyncStatusWrite(ctx, s.pool, reading))
}
