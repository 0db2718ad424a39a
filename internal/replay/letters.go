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

// LettersOptions select the dead letters to retry.
type LettersOptions struct {
	Options
	Log    *eventlog.Log
	Select func(*eventlog.Message) bool // nil selects all

	// Instance is the Clerk instance whose events are accepted. Without it, a letter that
	// was parked because of its instance stays parked.
	Instance string
}

// NewLetters makes a replay of the dead letters that a scan reads. A letter whose event is
// applied, or was applied already, is removed; one that is dead again is replaced, with
// one attempt more.
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
	letters map[*clerk.Event]*eventlog.Message // of the events in flight
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
		if err := s.checkInstance(letter); err != nil { // the projector does not check it
			d := eventlog.Death{Reason: clerk.Reason(err), Err: err, Attempts: 1}
			if err := s.o.Log.ParkAgain(ctx, letter.Event, d, letter); err != nil {
				return nil, err
			}
			s.dead.Add(1)
			continue
		}
		m := *letter
		if m.Seq, err = s.sequence(ctx, letter); err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.letters[m.Event] = letter
		s.mu.Unlock()
		return &m, nil
	}
}

// checkInstance checks whether an event that was parked because of its instance is of the
// right one now.
func (s *letters) checkInstance(letter *eventlog.Message) error {
	if letter.Letter().Reason != clerk.ErrWrongInstance.Error() {
		return nil
	}
	envelope, err := clerk.ParseEnvelope(letter.Event.Body)
	switch {
	case err != nil:
		return err
	case s.o.Instance == "":
		return fmt.Errorf("%w: of instance %s, and CLERK_INSTANCE_ID is not set to compare with",
			clerk.ErrWrongInstance, clerk.InstanceName(envelope.InstanceID))
	case envelope.InstanceID != s.o.Instance:
		return clerk.WrongInstance(envelope.InstanceID, s.o.Instance)
	}
	return nil
}

// sequence returns the sequence of a letter's event in the log. It first stores an event
// that was parked on arrival, if it can be read by now: the log must have every event that
// the tables are made of.
func (s *letters) sequence(ctx context.Context, letter *eventlog.Message) (uint64, error) {
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
	return s.o.Log.RemoveLetters(ctx, letter.Seq)
}
