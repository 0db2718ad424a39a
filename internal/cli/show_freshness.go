package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/units"
)

// freshness is the lag of the row, and the event that made it. The fields that only the
// event log has are null when it was not read or no longer has the event.
type freshness struct {
	EmittedAt  time.Time  `json:"emitted_at"`
	ReceivedAt *time.Time `json:"received_at"`
	StoredAt   *time.Time `json:"stored_at"`
	AppliedAt  time.Time  `json:"applied_at"`
	EndToEnd   float64    `json:"end_to_end_seconds"`
	EventSeq   int64      `json:"event_seq"`
	SvixID     string     `json:"svix_id"`
	Pending    *int       `json:"pending"` // newer events that wait

	eventType string
}

// freshnessOf returns nil when no event about the entity was applied.
func freshnessOf(out *shown) *freshness {
	head := out.Head
	if head == nil || head.EventID == "" {
		return nil
	}
	f := &freshness{
		EmittedAt: head.EventAt, AppliedAt: head.AppliedAt, EndToEnd: head.AppliedAt.Sub(head.EventAt).Seconds(),
		EventSeq: head.EventSeq, SvixID: head.EventID,
	}
	if out.Events == nil {
		return f
	}
	pending := len(out.waiting)
	f.Pending = &pending
	for _, e := range out.Events {
		if e.Current {
			f.ReceivedAt, f.StoredAt, f.eventType = &e.ReceivedAt, &e.StoredAt, e.Type
		}
	}
	return f
}

// text returns one line for a person.
func (f *freshness) text() string {
	after := func(from, to time.Time) string { return units.Seconds(to.Sub(from).Seconds()) }
	if f.StoredAt == nil {
		return fmt.Sprintf("freshness: emitted %s, applied %s: %s end to end, by event %d (svix id %s)", f.EmittedAt.Format(time.RFC3339),
			f.AppliedAt.Format(time.RFC3339), units.Seconds(f.EndToEnd), f.EventSeq, f.SvixID)
	}
	return fmt.Sprintf("freshness: emitted %s, received after %s, stored after %s, applied after %s: %s end to end, by event %d %s (svix id %s)",
		f.EmittedAt.Format(time.RFC3339), after(f.EmittedAt, *f.ReceivedAt), after(*f.ReceivedAt, *f.StoredAt), after(*f.StoredAt, f.AppliedAt),
		units.Seconds(f.EndToEnd), f.EventSeq, f.eventType, f.SvixID)
}

// waitingListed bounds how many waiting events are named.
const waitingListed = 3

// waitingText names events that wait to be applied.
func waitingText(events []shownEvent) string {
	var names []string
	for _, e := range events[:min(len(events), waitingListed)] {
		names = append(names, fmt.Sprintf("%d %s", e.Seq, e.Type))
	}
	if more := len(events) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("%s: %s (clerksync lag tells why)",
		units.Count(len(events), "newer event about it waits", "newer events about it wait"), strings.Join(names, ", "))
}
