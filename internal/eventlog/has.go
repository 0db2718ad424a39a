package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// maxHoldings bounds what [Holdings] remember, in subjects and ids together: about
// 30 MB.
const maxHoldings = 1 << 17

// Holdings tell whether events are in the log already, however long they have been
// there: JetStream itself remembers ids for minutes only.
//
// All events of an entity have few subjects, and what was found below a subject is
// remembered: a user with thousands of updates is looked through once.
type Holdings struct {
	stream jetstream.Stream

	mu       sync.Mutex
	subjects map[string]*holding
	size     int
}

// holding is what is known of one subject.
type holding struct {
	mu  sync.Mutex
	ids map[string]struct{} // nil when it was not looked through
}

// Holdings begins to look at what is in the log.
func (l *Log) Holdings(ctx context.Context) (*Holdings, error) {
	stream, err := l.js.Stream(ctx, Stream)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", Stream, err)
	}
	return &Holdings{stream: stream, subjects: map[string]*holding{}}, nil
}

// Has tells whether an event with this svix-id is in the log, under the subject of the
// event. It can be called by several at once.
func (h *Holdings) Has(ctx context.Context, e *clerk.Event) (bool, error) {
	subject := e.Envelope.Subject(Subject)
	s := h.of(subject)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		ids, err := h.idsUnder(ctx, subject)
		if err != nil {
			return false, err
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
	if s.ids != nil { // else it is found when it is looked for
		s.ids[e.ID] = struct{}{}
		h.grow(1)
	}
}

// of returns what is known of a subject. When too much is known, all of it is
// forgotten: it can be looked up again.
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

// idsUnder are the svix-ids of all events under a subject.
func (h *Holdings) idsUnder(ctx context.Context, subject string) (map[string]struct{}, error) {
	ids := map[string]struct{}{}
	for next := uint64(1); ; {
		msg, err := h.stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return ids, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read stream %s: %w", Stream, err)
		}
		ids[msg.Header.Get(headerSvixID)] = struct{}{}
		next = msg.Sequence + 1
	}
}
