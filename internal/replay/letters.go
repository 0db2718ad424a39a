package replay

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// LettersOptions say which dead letters are tried again.
type LettersOptions struct {
	Options
	Log    *eventlog.Log
	Select func(*eventlog.Message) bool // nil takes all that are read

	// Instance is the Clerk instance whose events are taken. Without it, a letter that
	// was parked because of its instance stays where it is.
	Instance string
}

// NewLetters makes a replay of the dead letters that a scan reads. A letter whose
// event gets in, or is found to be there, is removed; one that is dead once more is
// replaced, with one attempt more.
func NewLetters(scan *eventlog.Scan, o LettersOptions) *Replay {
	s := &letters{scan: scan, o: o, letters: map[*clerk.Event]*eventlog.Message{}}
	r := newReplay(s, o.Options)
	s.dead = r.counts[store.Dead]
	return r
}

type letters struct {
	scan *eventlog.Scan
	o    LettersOptions
	dead *atomic.Uint64

	mu      sync.Mutex
	letters map[*clerk.Event]*eventlog.Message // of the events in work
}

func (s *letters) next(ctx context.Context) (*eventlog.Message, error) {
	for {
		letter, err := s.scan.Next(ctx)
		if err != nil {
			return nil, err
		}
		if s.o.Select != nil && !s.o.Select(letter) {
			continue
		}
		if err := s.checkInstance(letter); err != nil { // of which the projector knows nothing
			d := eventlog.Death{Reason: clerk.Reason(err), Err: err, Attempts: 1}
			if err := s.o.Log.ParkAgain(ctx, letter.Event, d, letter); err != nil {
				return nil, err
			}
			s.dead.Add(1)
			continue
		}
		m := *letter
		if m.Seq, err = s.place(ctx, letter); err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.letters[m.Event] = letter
		s.mu.Unlock()
		return &m, nil
	}
}

// checkInstance looks whether an event that was parked because of its instance is of
// the right one now.
func (s *letters) checkInstance(letter *eventlog.Message) error {
	if letter.Letter().Reason != clerk.ErrWrongInstance.Error() {
		return nil
	}
	if s.o.Instance == "" {
		return fmt.Errorf("%w: the right one was not given to compare with", clerk.ErrWrongInstance)
	}
	envelope, err := clerk.ParseEnvelope(letter.Event.Body)
	if err != nil {
		return err
	}
	if envelope.InstanceID != s.o.Instance {
		return fmt.Errorf("%w: still", clerk.ErrWrongInstance)
	}
	return nil
}

// place is where the event of a letter stands in the log. An event that was parked on
// its arrival is put there first, if it can be read by now: the log is to have all
// that the tables are made of.
func (s *letters) place(ctx context.Context, letter *eventlog.Message) (uint64, error) {
	if seq := letter.Letter().LogSeq; seq != 0 {
		return seq, nil
	}
	e := *letter.Event
	change, err := clerk.ParseChange(&e)
	if err != nil || change == nil {
		return 0, nil // the projector finds the same
	}
	if e.Envelope, err = clerk.ParseEnvelope(e.Body); err != nil || e.Envelope.CheckIDs() != nil {
		return 0, nil
	}
	stored, err := s.o.Log.AppendParked(ctx, &e, letter.Seq)
	if err != nil {
		return 0, fmt.Errorf("store the event of dead letter %d: %w", letter.Seq, err)
	}
	return stored.Seq, nil
}

func (s *letters) letter(e *clerk.Event) *eventlog.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.letters[e]
}

func (s *letters) park(ctx context.Context, e *clerk.Event, d eventlog.Death) error {
	return s.o.Log.ParkAgain(ctx, e, d, s.letter(e))
}

func (s *letters) settled(ctx context.Context, m *eventlog.Message, outcome store.Outcome) error {
	letter := s.letter(m.Event)
	s.mu.Lock()
	delete(s.letters, m.Event)
	s.mu.Unlock()
	if outcome == store.Dead { // replaced
		return nil
	}
	return s.o.Log.RemoveLetter(ctx, letter.Seq)
}
