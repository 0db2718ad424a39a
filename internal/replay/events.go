package replay

import (
	"context"
	"sync"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// Events is a replay of stored events.
type Events struct {
	*Replay
	events *events
}

// NewEvents makes a replay of the events that a scan reads. An event that can never be
// applied is parked in log, where it replaces a letter that it already has; without log
// it is only counted.
func NewEvents(scan *eventlog.Scan, log *eventlog.Log, o Options) *Events {
	s := &events{scan: scan, log: log, ended: map[uint64]bool{}}
	return &Events{newReplay(s, o), s}
}

// Settled returns the sequence up to which all selected events are done, 0 when none is:
// a replay that was stopped can resume after it.
func (r *Events) Settled() uint64 {
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	return r.events.done
}

type events struct {
	scan *eventlog.Scan
	log  *eventlog.Log

	mu    sync.Mutex
	begun []uint64        // sequences of the events in flight, in order
	ended map[uint64]bool // those that are done, after one that is not
	done  uint64
}

func (s *events) next(ctx context.Context) (*eventlog.Message, error) {
	m, err := s.scan.Next(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = append(s.begun, m.Seq)
	return m, nil
}

func (s *events) park(ctx context.Context, e *clerk.Event, d eventlog.Death) error {
	if s.log == nil {
		return nil
	}
	return s.log.ParkAgain(ctx, e, d)
}

func (s *events) settled(_ context.Context, m *eventlog.Message, _ store.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended[m.Seq] = true
	for len(s.begun) > 0 && s.ended[s.begun[0]] {
		s.done, s.begun = s.begun[0], s.begun[1:]
		delete(s.ended, s.done)
	}
	return nil
}
