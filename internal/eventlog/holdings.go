package eventlog

import (
	"context"
	"sync"

	"github.com/clerksync/clerksync/internal/clerk"
)

// maxHoldings bounds what [Holdings] remember, in subjects and ids together: about
// 30 MB.
const maxHoldings = 1 << 17

// Holdings tell whether events are in the log already, however long ago they were
// stored: JetStream itself remembers ids for minutes only.
//
// All events of an entity share few subjects, and the ids under a subject are
// remembered: a user with thousands of updates is read once.
type Holdings struct {
	log *Log

	mu       sync.Mutex
	subjects map[string]*holding
	size     int
}

// holding is what is known of one subject.
type holding struct {
	mu  sync.Mutex
	ids map[string]struct{} // nil until the subject is read
}

// Holdings returns an empty memory of what is in the log.
func (l *Log) Holdings() *Holdings {
	return &Holdings{log: l, subjects: map[string]*holding{}}
}

// Has reports whether an event with this svix-id is in the log, under the subject of the
// event. It can be called concurrently.
func (h *Holdings) Has(ctx context.Context, e *clerk.Event) (bool, error) {
	subject := e.Envelope.Subject(Subject)
	s := h.of(subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		ids := map[string]struct{}{}
		for m, err := range h.log.under(ctx, Stream, 1, subject) {
			if err != nil {
				return false, err
			}
			ids[m.Event.ID] = struct{}{}
		}
		s.ids = ids
		h.grow(len(ids))
	}
	_, ok := s.ids[e.ID]
	return ok, nil
}

// Add notes that an event was stored.
func (h *Holdings) Add(e *clerk.Event) {
	s := h.of(e.Envelope.Subject(Subject))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids != nil { // otherwise Has reads it from the log
		s.ids[e.ID] = struct{}{}
		h.grow(1)
	}
}

// of returns what is known of a subject. At the bound it forgets everything, which can
// be read again.
func (h *Holdings) of(subject string) *holding {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.subjects[subject]
	if s == nil {
		if h.size >= maxHoldings {
			clear(h.subjects)
			h.size = 0
		}
		s = &holding{}
		h.subjects[subject] = s
		h.size++
	}
	return s
}

func (h *Holdings) grow(n int) {
	h.mu.Lock()
	h.size += n
	h.mu.Unlock()
}
