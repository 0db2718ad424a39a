package tail

import (
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
)

// Outcome says what became of a delivery.
type Outcome string

// The outcomes.
const (
	Stored    Outcome = "stored" // and not yet applied
	Applied   Outcome = "applied"
	Stale     Outcome = "stale"     // the rows have a newer version
	Duplicate Outcome = "duplicate" // the log or the rows have this event
	Ignored   Outcome = "ignored"   // of a type that is not stored, or not synced
	Parked    Outcome = "parked"    // it can never be applied and became a dead letter
	Refused   Outcome = "refused"   // the delivery was not accepted
	NotShown  Outcome = "not_shown" // no event, but the number of those left out
)

// outcomes are those of applying an event.
var outcomes = map[store.Outcome]Outcome{
	store.Applied: Applied, store.Stale: Stale, store.Duplicate: Duplicate, store.Ignored: Ignored, store.Dead: Parked,
}

// Event is a delivery and what became of it. All fields but At and Outcome can be empty: of
// a refused delivery nothing else is trusted.
type Event struct {
	At         time.Time    `json:"at"` // of the outcome
	Outcome    Outcome      `json:"outcome"`
	Reason     string       `json:"reason"` // why it was parked or refused, in one word
	Type       string       `json:"type"`
	Entity     string       `json:"entity"`
	User       string       `json:"user"`
	Org        string       `json:"org"`
	Origin     clerk.Origin `json:"origin"`
	SvixID     string       `json:"svix_id"`
	Seq        uint64       `json:"seq"`         // in the event log
	DurationMS *float64     `json:"duration_ms"` // from the receipt to the outcome
	Status     int          `json:"status"`      // answered to a refused delivery
	Answer     string       `json:"answer"`      // likewise, a fixed text
	NotShown   int          `json:"not_shown"`   // events that were left out before this one
}

// newEvent returns an event without its outcome. The ids come from outside: one that Clerk
// or Svix would not make may be anything, such as an e-mail address, and is left out.
func newEvent(e *clerk.Event) Event {
	return Event{
		At:   time.Now().UTC(),
		Type: word(e.Envelope.Type), Entity: word(e.Envelope.EntityID), User: word(e.Envelope.UserID), Org: word(e.Envelope.OrgID),
		Origin: e.Origin, SvixID: word(e.ID),
	}
}

// word returns a text of letters, digits, "_", "-" and ".", and "" instead of any other.
func word(text string) string {
	if !clerk.ValidToken(strings.ReplaceAll(text, ".", "_")) {
		return ""
	}
	return text
}

func milliseconds(d time.Duration) *float64 {
	return new(float64(d.Microseconds()) / 1000)
}
