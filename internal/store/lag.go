package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Ref names an event and its entity.
type Ref struct {
	Kind clerk.Kind
	ID   string
	Seq  uint64 // sequence in the log
}

// AppliedAt returns when events were applied, by sequence. It leaves out an event that is
// not applied, or is no longer the newest of its entity.
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

// SaveReading stores a reading of the lag for the view sync_lag, which names its fields.
func (s *Store) SaveReading(ctx context.Context, reading json.RawMessage) error {
	return wrap("write sync_status", s.q.SyncStatusWrite(ctx, s.pool, reading))
}
