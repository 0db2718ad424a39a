package lag

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/units"
)

// recent holds the last events delivered by Svix.
type recent struct {
	events []received
	begun  bool   // the log was read at least once
	last   uint64 // the log was read up to here
}

type received struct {
	emitted, received, stored time.Time
	instance                  string
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
			e.events = append(e.events, received{
				time.UnixMilli(msg.Event.Envelope.EventAt), msg.Event.ReceivedAt, msg.StoredAt, msg.Event.Envelope.InstanceID,
			})
		}
		return nil
	})
}

func (e *recent) lastReceived() time.Time {
	if len(e.events) == 0 {
		return time.Time{}
	}
	return e.events[len(e.events)-1].received.UTC()
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

func (e *recent) warnings() []string {
	var all []string
	if n := e.instances(); n > 1 {
		all = append(all, fmt.Sprintf("the last events are of %d Clerk instances, and one database holds one: set CLERK_INSTANCE_ID", n))
	}
	var early time.Duration
	for _, r := range e.events {
		early = max(early, r.emitted.Sub(r.received))
	}
	if early > clockTolerance {
		all = append(all, fmt.Sprintf("events were received up to %s before they were emitted: the clock of the receiver is slow", units.Duration(early)))
	}
	return all
}
