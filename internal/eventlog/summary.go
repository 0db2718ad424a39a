package eventlog

import (
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Summary is a stored event without its body, as every listing shows it.
type Summary struct {
	Seq        uint64       `json:"seq"`
	Type       string       `json:"type"`
	Entity     string       `json:"entity"`
	User       string       `json:"user"` // "" for none, as with org
	Org        string       `json:"org"`
	EventAt    *time.Time   `json:"event_at"` // null when the event does not say
	ReceivedAt *time.Time   `json:"received_at"`
	StoredAt   time.Time    `json:"stored_at"`
	Origin     clerk.Origin `json:"origin"`
	SvixID     string       `json:"svix_id"`
}

// Summary returns what a listing shows of the event.
func (m *Message) Summary() Summary {
	e := m.Event
	s := Summary{
		Seq: m.Seq, Type: e.Envelope.Type, Entity: e.Envelope.EntityID, User: e.Envelope.UserID, Org: e.Envelope.OrgID,
		StoredAt: m.StoredAt.UTC(), Origin: e.Origin, SvixID: e.ID,
	}
	if e.Envelope.EventAt != 0 {
		s.EventAt = new(time.UnixMilli(e.Envelope.EventAt).UTC())
	}
	if !e.ReceivedAt.IsZero() {
		s.ReceivedAt = new(e.ReceivedAt.UTC())
	}
	return s
}
