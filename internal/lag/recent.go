package lag

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/units"
)

// recent holds the last events delivered by Svix, and the last dead letter.
type recent struct {
	events []received
	begun  bool   // the log was read at least once
	last   uint64 // the log was read up to here

	letterSeq uint64
	letter    *parked // nil when there is none, or its delivery was not parked on arrival
}

// parked is a delivery that was parked on arrival.
type parked struct {
	reason, instance string
	received         time.Time
}

// readLetter reads the last dead letter. One that was retried or discarded counts as none.
func (e *recent) readLetter(ctx context.Context, log *eventlog.Log, b *eventlog.Backlog) error {
	if b.DeadLetters == 0 {
		e.letterSeq, e.letter = 0, nil
		return nil
	}
	if e.letterSeq == b.LastLetter && e.letter == nil {
		return nil
	}
	m, err := log.GetLetter(ctx, b.LastLetter)
	if errors.Is(err, eventlog.ErrNotFound) {
		e.letterSeq, e.letter = b.LastLetter, nil
		return nil
	}
	if err != nil {
		return err
	}
	e.letterSeq, e.letter = b.LastLetter, nil
	if letter := m.Letter(); letter.LogSeq == 0 && m.Event.Origin == clerk.OriginWebhook {
		e.letter = &parked{letter.Reason, m.Event.Envelope.InstanceID, m.Event.ReceivedAt}
	}
	return nil
}

// received is an event that Svix delivered.
type received struct {
	emitted, received, stored time.Time
	instance                  string
	ref                       store.Ref
}

func newReceived(m *eventlog.Message) received {
	e := m.Event.Envelope
	return received{
		time.UnixMilli(e.EventAt), m.Event.ReceivedAt, m.StoredAt, e.InstanceID,
		store.Ref{Kind: clerk.KindOfType(e.Type), ID: e.EntityID, Seq: m.Seq},
	}
}

// read reads the events stored since the last call, but at most twice the sample.
func (e *recent) read(ctx context.Context, log *eventlog.Log, last uint64) error {
	if e.begun && last <= e.last {
		if last < e.last { // another log
			*e = recent{}
		}
		return nil
	}
	f := eventlog.Filter{Types: log.Types(), To: last}
	if e.begun {
		f.From = max(e.last+1, last-min(last, 2*sampled)+1)
	} else {
		f.Last = sampled
	}
	if last == 0 {
		return nil
	}
	err := e.collect(ctx, log, f)
	if err != nil {
		return err
	}
	if !e.begun && len(e.events) == 0 { // hidden by many imported ones
		f.Origins = []clerk.Origin{clerk.OriginWebhook}
		err = e.collect(ctx, log, f) // only once: it can take long
	}
	e.begun, e.last = true, last
	e.events = slices.Delete(e.events, 0, max(len(e.events)-sampled, 0))
	return err
}

// collect appends the events that a filter selects.
func (e *recent) collect(ctx context.Context, log *eventlog.Log, f eventlog.Filter) error {
	scan, err := log.Events(ctx, f, true)
	if err != nil {
		return err
	}
	return scan.Each(ctx, func(msg *eventlog.Message) error {
		if msg.Event.Origin == clerk.OriginWebhook {
			e.events = append(e.events, newReceived(msg))
		}
		return nil
	})
}

// lastReceived returns when Svix last delivered an event, stored or parked.
func (e *recent) lastReceived() (last time.Time) {
	if n := len(e.events); n > 0 {
		last = e.events[n-1].received
	}
	if e.letter != nil && e.letter.received.After(last) {
		last = e.letter.received
	}
	return last.UTC()
}

// wrongInstance returns the last delivery when it was parked for its Clerk instance.
func (e *recent) wrongInstance() *parked {
	if e.letter == nil || e.letter.reason != clerk.ErrWrongInstance.Error() || !e.letter.received.Equal(e.lastReceived()) {
		return nil
	}
	return e.letter
}

// instances counts the Clerk instances among the last events.
func (e *recent) instances() int {
	seen := map[string]bool{}
	for _, r := range e.events {
		if r.instance != "" {
			seen[r.instance] = true
		}
	}
	return len(seen)
}

func (e *recent) warnings() []finding {
	var all []finding
	if n := e.instances(); n > 1 {
		text := fmt.Sprintf("the last events are of %d Clerk instances, and one database holds one", n)
		all = append(all, finding{cause: CauseWrongInstance, text: text, fix: "set CLERK_INSTANCE_ID, and remove the endpoint from the other instance"})
	}
	var early time.Duration
	for _, r := range e.events {
		early = max(early, r.emitted.Sub(r.received))
	}
	if early > clockTolerance {
		text := fmt.Sprintf("events were received up to %s before they were emitted: the clock of the receiver is slow", units.Duration(early))
		all = append(all, finding{cause: CauseClock, text: text, fix: "let NTP set the clock of the receivers"})
	}
	return all
}
