package archive

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/clerksync/clerksync/internal/clerk"
)

// MaxLine is the length limit of a line, in bytes. A received event has up to 1 MiB, and
// every character of it may be escaped.
const MaxLine = 8 << 20

// Record is one stored event. Of its envelope, only the type and the time are written; the
// rest is read from the body.
type Record struct {
	Seq      uint64 // in the log that it was exported from
	StoredAt time.Time
	Event    *clerk.Event
}

// line is a record as JSON. Pointers show what is missing.
type line struct {
	Seq        *uint64    `json:"seq"`
	StoredAt   *time.Time `json:"stored_at"`
	Type       *string    `json:"type"`
	Headers    *headers   `json:"headers"`
	Body       *string    `json:"body,omitzero"`
	BodyBase64 *string    `json:"body_base64,omitzero"` // of a body that is not text
}

// headers are the headers of the event in the log.
type headers struct {
	SvixID        *string `json:"Svix-Id"`
	SvixTimestamp *string `json:"Svix-Timestamp"`
	SvixSignature *string `json:"Svix-Signature"`
	ReceivedAt    *string `json:"Clerksync-Received-At"`
	EventAt       *string `json:"Clerksync-Event-At"`
	Origin        *string `json:"Clerksync-Origin"`
}

// timeLayout is the layout of times in the headers.
const timeLayout = "2006-01-02T15:04:05.000Z"

func formatTime(t time.Time) *string { return new(t.UTC().Format(timeLayout)) }

// encode returns the line of a record, with its newline.
func encode(r *Record) ([]byte, error) {
	e := r.Event
	l := line{
		Seq: &r.Seq, StoredAt: new(r.StoredAt.UTC()), Type: &e.Envelope.Type,
		Headers: &headers{
			SvixID: &e.ID, SvixTimestamp: &e.Timestamp,
			// One of its signatures was verified; the others can be any bytes.
			SvixSignature: new(strings.ToValidUTF8(e.Signature, "\uFFFD")),
			ReceivedAt:    formatTime(e.ReceivedAt),
			EventAt:       formatTime(time.UnixMilli(e.Envelope.EventAt)),
			Origin:        (*string)(&e.Origin),
		},
	}
	if utf8.Valid(e.Body) {
		l.Body = new(string(e.Body))
	} else {
		l.BodyBase64 = new(base64.StdEncoding.EncodeToString(e.Body))
	}
	text, err := json.Marshal(&l)
	if err != nil {
		return nil, fmt.Errorf("write event %d: it cannot be a line of JSON", r.Seq)
	}
	if len(text) >= MaxLine {
		return nil, fmt.Errorf("write event %d: a line of more than 8 MiB", r.Seq)
	}
	return append(text, '\n'), nil
}

// decode parses a line strictly. Its errors never quote the content.
func decode(text []byte) (*Record, error) {
	var l line
	if err := json.Unmarshal(text, &l, json.RejectUnknownMembers(true)); err != nil {
		return nil, fault(err)
	}
	if missing := l.missing(); missing != "" {
		return nil, errors.New("not an event of an export: " + missing + " is missing")
	}
	h := l.Headers
	received, err := time.Parse(timeLayout, *h.ReceivedAt)
	if err != nil {
		return nil, errors.New("Clerksync-Received-At is not a time of the form 2026-01-31T15:04:05.000Z")
	}
	emitted, err := time.Parse(timeLayout, *h.EventAt)
	if err != nil {
		return nil, errors.New("Clerksync-Event-At is not a time of the form 2026-01-31T15:04:05.000Z")
	}
	var body []byte
	switch {
	case l.Body != nil && l.BodyBase64 != nil:
		return nil, errors.New("body and body_base64 exclude each other")
	case l.Body != nil:
		body = []byte(*l.Body)
	default:
		if body, err = base64.StdEncoding.Strict().DecodeString(*l.BodyBase64); err != nil {
			return nil, errors.New("body_base64 is not base64")
		}
	}
	return &Record{
		Seq: *l.Seq, StoredAt: l.StoredAt.UTC(),
		Event: &clerk.Event{
			ID: *h.SvixID, Timestamp: *h.SvixTimestamp, Signature: *h.SvixSignature,
			ReceivedAt: received, Origin: clerk.Origin(*h.Origin), Body: body,
			Envelope: clerk.Envelope{Type: *l.Type, EventAt: emitted.UnixMilli()},
		},
	}, nil
}

// missing returns the name of the first missing field.
func (l *line) missing() string {
	h := l.Headers
	if h == nil {
		h = &headers{}
	}
	for _, field := range []struct {
		name  string
		there bool
	}{
		{"seq", l.Seq != nil},
		{"stored_at", l.StoredAt != nil},
		{"type", l.Type != nil},
		{"headers", l.Headers != nil},
		{"Svix-Id", h.SvixID != nil},
		{"Svix-Timestamp", h.SvixTimestamp != nil},
		{"Svix-Signature", h.SvixSignature != nil},
		{"Clerksync-Received-At", h.ReceivedAt != nil},
		{"Clerksync-Event-At", h.EventAt != nil},
		{"Clerksync-Origin", h.Origin != nil},
		{"body", l.Body != nil || l.BodyBase64 != nil},
	} {
		if !field.there {
			return field.name
		}
	}
	return ""
}

// fault returns the fault of a line without its content.
func fault(err error) error {
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New("a key stands twice in one object")
	case errors.Is(err, json.ErrUnknownName):
		return errors.New("not an event of an export: it has a field that those do not have")
	case errors.As(err, &semantic):
		// All names are known here: the pointer reveals no content.
		if semantic.JSONPointer == "" {
			return errors.New("not an event of an export, which is an object")
		}
		return fmt.Errorf("not an event of an export: %s is of another type", strings.TrimPrefix(string(semantic.JSONPointer), "/"))
	case errors.As(err, &syntactic):
		return fmt.Errorf("not JSON: fault at byte %d", syntactic.ByteOffset)
	}
	return errors.New("not JSON")
}
