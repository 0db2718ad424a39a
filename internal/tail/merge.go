package tail

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// merger makes one line of the two that an event has, the receiver's and the projector's.
// They come from different connections, in any order.
type merger struct {
	stored  map[string]waiting   // by svix-id: stored, and not applied as far as is known
	settled map[string]time.Time // by svix-id: when it was
}

type waiting struct {
	event Event
	since time.Time
}

func newMerger() *merger { return &merger{map[string]waiting{}, map[string]time.Time{}} }

// take returns what is to be shown at once.
func (m *merger) take(e Event, now time.Time) []Event {
	switch {
	case e.Outcome == Stored:
		if _, ok := m.settled[e.SvixID]; !ok {
			m.stored[e.SvixID] = waiting{e, now}
		}
		return nil
	case e.Outcome == NotShown:
		clear(m.stored) // any of them may be among those that were left out
	case e.Seq != 0:
		delete(m.stored, e.SvixID)
		m.settled[e.SvixID] = now
	}
	return []Event{e}
}

// overdue returns the events that are stored and not applied after a while.
func (m *merger) overdue(now time.Time) []Event {
	var due []Event
	for id, w := range m.stored {
		if now.Sub(w.since) >= patience {
			due = append(due, w.event)
			delete(m.stored, id)
		}
	}
	maps.DeleteFunc(m.settled, func(_ string, at time.Time) bool { return now.Sub(at) >= patience })
	slices.SortFunc(due, func(a, b Event) int { return cmp.Compare(a.Seq, b.Seq) })
	return due
}
