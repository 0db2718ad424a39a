package eventlog

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// The headers of a stored event. Svix's are kept so that the signature can be verified
// again.
const (
	headerSvixID        = "Svix-Id"
	headerSvixTimestamp = "Svix-Timestamp"
	headerSvixSignature = "Svix-Signature"
	headerReceivedAt    = "Clerksync-Received-At"
	headerEventAt       = "Clerksync-Event-At"
	headerOrigin        = "Clerksync-Origin"
	headerInstanceID    = "Clerksync-Instance-Id"
	headerTrace         = "traceparent" // of the W3C's Trace Context
)

// newMsg returns the message of an event. It does not copy the body.
func newMsg(subjectPrefix string, e *clerk.Event) *nats.Msg {
	msg := &nats.Msg{
		Subject: e.Envelope.Subject(subjectPrefix),
		Header: nats.Header{
			jetstream.MsgIDHeader: {e.ID},
			headerSvixID:          {e.ID},
			headerSvixTimestamp:   {e.Timestamp},
			headerSvixSignature:   {e.Signature},
			headerReceivedAt:      {formatTime(e.ReceivedAt)},
			headerEventAt:         {formatTime(time.UnixMilli(e.Envelope.EventAt))},
			headerOrigin:          {string(e.Origin)},
		},
		Data: e.Body,
	}
	if id := e.Envelope.InstanceID; clerk.ValidToken(id) {
		msg.Header[headerInstanceID] = []string{id}
	}
	if e.Trace != "" {
		msg.Header[headerTrace] = []string{e.Trace}
	}
	return msg
}

const timeLayout = "2006-01-02T15:04:05.000Z"

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

func parseTime(s string) time.Time {
	t, _ := time.Parse(timeLayout, s)
	return t
}

// Message is a stored event, or a dead letter, as it was delivered or read.
type Message struct {
	Event       *clerk.Event // its Envelope has what subject and headers say
	Seq         uint64       // sequence in the stream
	StoredAt    time.Time    // by the server's clock
	Deliveries  uint64       // 1 at the first delivery
	DeliveredAt time.Time    // to this process, by its clock; zero when it was read singly
	Header      nats.Header  // as it is stored

	msg jetstream.Msg // to settle; nil when it was read and not consumed
}

func newMessage(msg jetstream.Msg) (*Message, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	e := newEvent(msg.Headers(), msg.Data())
	e.Envelope = newEnvelope(msg.Subject(), msg.Headers())
	return &Message{
		Event:       e,
		Seq:         meta.Sequence.Stream,
		StoredAt:    meta.Timestamp,
		Deliveries:  meta.NumDelivered,
		DeliveredAt: time.Now(),
		Header:      msg.Headers(),
		msg:         msg,
	}, nil
}

// newRawMessage returns a message that was read by its sequence or subject.
func newRawMessage(msg *jetstream.RawStreamMsg) *Message {
	e := newEvent(msg.Header, msg.Data)
	e.Envelope = newEnvelope(msg.Subject, msg.Header)
	return &Message{Event: e, Seq: msg.Sequence, StoredAt: msg.Time, Header: msg.Header}
}

func newEvent(h nats.Header, body []byte) *clerk.Event {
	return &clerk.Event{
		ID:         h.Get(headerSvixID),
		Timestamp:  h.Get(headerSvixTimestamp),
		Signature:  h.Get(headerSvixSignature),
		ReceivedAt: parseTime(h.Get(headerReceivedAt)),
		Origin:     clerk.Origin(h.Get(headerOrigin)),
		Trace:      h.Get(headerTrace),
		Body:       body,
	}
}

// newEnvelope reads the envelope from the subject and headers of an event or a dead
// letter, whether or not its body can be decoded.
func newEnvelope(subject string, h nats.Header) clerk.Envelope {
	var tokens [5]string
	subject = strings.TrimPrefix(strings.TrimPrefix(subject, Subject+"."), DeadSubject+".")
	copy(tokens[:], strings.Split(subject, "."))
	for i, token := range tokens {
		if token == "-" {
			tokens[i] = ""
		}
	}
	e := clerk.Envelope{EntityID: tokens[2], OrgID: tokens[3], UserID: tokens[4], InstanceID: h.Get(headerInstanceID)}
	if tokens[0] != "" && tokens[1] != "" {
		e.Type = tokens[0] + "." + tokens[1]
	}
	if at := parseTime(h.Get(headerEventAt)); !at.IsZero() {
		e.EventAt = at.UnixMilli()
	}
	return e
}

// Ack settles the event: it is applied, or will never be. A lost ack costs one
// redelivery and nothing else.
func (m *Message) Ack() error {
	if m.msg == nil {
		return nil
	}
	return m.msg.Ack()
}

// Return gives the event back, to be redelivered at once.
func (m *Message) Return() error {
	if m.msg == nil {
		return nil
	}
	return m.msg.Nak()
}

// Summary is a stored event without its body, as listings show it.
type Summary struct {
	Seq        uint64       `json:"seq"`
	Type       string       `json:"type"`
	Entity     string       `json:"entity"`
	User       string       `json:"user"` // "" for none, as Org
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
