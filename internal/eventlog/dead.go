package eventlog

import (
	"context"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/clerksync/clerksync/internal/clerk"
)

// ReasonRefused is the reason for an event whose content PostgreSQL does not take. The
// other reasons are those of [clerk.Reason].
const ReasonRefused = "refused"

// Reasons explains every reason for which an event is parked, and says what helps.
var Reasons = map[string]string{
	clerk.ErrUndecodable.Error():   "the body cannot be read: not JSON, a key twice, a field of another type; a newer clerksync may read it",
	clerk.ErrNoType.Error():        "it has no type: a test message?",
	clerk.ErrNoID.Error():          "it names no entity",
	clerk.ErrUnusableID.Error():    "an id in it is not of the form that Clerk makes for its kind",
	clerk.ErrFuture.Error():        "its data.updated_at is more than a day after it was received: the sender's clock was wrong; discard it when a later event corrected the row",
	clerk.ErrWrongInstance.Error(): "an event of another Clerk instance, such as the dashboard's examples: discard it, or correct CLERK_INSTANCE_ID and retry",
	ReasonRefused:                  "PostgreSQL refuses its content: did you add a constraint? remove it and retry",
}

// The headers that a dead letter has in addition to those of its event.
const (
	headerDeadReason   = "Clerksync-Dead-Reason"
	headerDeadError    = "Clerksync-Dead-Error"
	headerDeadFirstAt  = "Clerksync-Dead-First-At"
	headerDeadAt       = "Clerksync-Dead-At"
	headerDeadAttempts = "Clerksync-Dead-Attempts"
	headerDeadSeq      = "Clerksync-Dead-Seq"
)

// maxDeadError bounds an error's text, in bytes, so that the headers above fit into the
// [headroom] of a stored event.
const maxDeadError = 512

// Death says why an event is parked.
type Death struct {
	Reason   string // one of a closed set, see clerk.Reason; "refused" when PostgreSQL does not take it
	Err      error  // its text has no content of the event in it
	Attempts uint64 // to apply it
	Seq      uint64 // in the log, 0 when it was never there
}

// Letter is what a dead letter says about its event.
type Letter struct {
	Reason   string    `json:"reason"`
	Error    string    `json:"error"`
	Attempts uint64    `json:"attempts"`
	FirstAt  time.Time `json:"first_at"` // when it was first parked
	LastAt   time.Time `json:"last_at"`  // when it was last parked
	LogSeq   uint64    `json:"log_seq"`  // of its event in the log, 0 when it was parked on arrival
}

// Letter reads what a dead letter says.
func (m *Message) Letter() Letter {
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(m.Header.Get(name), 10, 64)
		return n
	}
	letter := Letter{
		Reason: m.Header.Get(headerDeadReason), Error: m.Header.Get(headerDeadError), Attempts: number(headerDeadAttempts),
		FirstAt: parseTime(m.Header.Get(headerDeadFirstAt)), LastAt: parseTime(m.Header.Get(headerDeadAt)), LogSeq: number(headerDeadSeq),
	}
	if letter.FirstAt.IsZero() {
		letter.FirstAt = letter.LastAt
	}
	return letter
}

// Park stores an event that can never be applied as a dead letter, durably. The
// error is [ErrUnavailable] or [ErrTooLarge].
func (l *Log) Park(ctx context.Context, e *clerk.Event, d Death) error {
	// The same delivery parked twice is one letter.
	return l.park(ctx, e, d, fmt.Sprintf("%s/%d", e.ID, d.Seq), time.Time{})
}

// ParkAgain is Park for an event that may have letters already: it was read from the log
// again, or from the letters given. The new letter replaces them, and takes over their
// attempts and the time of the first.
func (l *Log) ParkAgain(ctx context.Context, e *clerk.Event, d Death, given ...*Message) error {
	found, err := l.lettersOf(ctx, e, d.Seq)
	if err != nil {
		return fmt.Errorf("find the dead letter: %w", err)
	}
	former := map[uint64]Letter{}
	for _, m := range append(found, given...) {
		former[m.Seq] = m.Letter()
	}
	var first time.Time
	for _, letter := range former {
		d.Attempts += letter.Attempts
		if first.IsZero() || letter.FirstAt.Before(first) {
			first = letter.FirstAt
		}
	}
	// A new id: JetStream remembers those of the letters that this one replaces.
	if err := l.park(ctx, e, d, fmt.Sprintf("%s/%d/%s", e.ID, d.Seq, nuid.Next()), first); err != nil {
		return err
	}
	for seq := range former {
		if err := l.RemoveLetters(ctx, seq); err != nil {
			return err
		}
	}
	return nil
}

// park publishes a letter. A zero first means now.
func (l *Log) park(ctx context.Context, e *clerk.Event, d Death, id string, first time.Time) error {
	if l.opened.Load() == nil { // nor is the server's limit known
		return errNotOpen
	}
	now := time.Now()
	if first.IsZero() {
		first = now
	}
	msg := newMsg(DeadSubject, e)
	msg.Header.Set(jetstream.MsgIDHeader, id)
	msg.Header.Set(headerDeadReason, d.Reason)
	msg.Header.Set(headerDeadError, shorten(d.Err.Error()))
	msg.Header.Set(headerDeadFirstAt, formatTime(first))
	msg.Header.Set(headerDeadAt, formatTime(now))
	msg.Header.Set(headerDeadAttempts, strconv.FormatUint(d.Attempts, 10))
	msg.Header.Set(headerDeadSeq, strconv.FormatUint(d.Seq, 10))
	if size := int64(msg.Size()); size > l.nc.MaxPayload() {
		return fmt.Errorf("%w: %d bytes with headers, the server takes %d", ErrTooLarge, size, l.nc.MaxPayload())
	}
	if err := l.publishLetter(ctx, msg); err != nil {
		return fmt.Errorf("park event: %w", err)
	}
	return nil
}

func (l *Log) publishLetter(ctx context.Context, msg *nats.Msg) error {
	if l.disk == nil {
		_, err := l.publish(ctx, msg)
		return err
	}
	if err := l.disk.check(); err != nil {
		return err
	}
	if _, err := l.publish(ctx, msg); err != nil {
		return l.disk.explain(err)
	}
	return l.disk.force(DeadStream)
}

// lettersOf returns the letters that an event has: of the same delivery, from the same
// sequence of the log.
func (l *Log) lettersOf(ctx context.Context, e *clerk.Event, seq uint64) ([]*Message, error) {
	var letters []*Message
	for m, err := range l.under(ctx, DeadStream, 1, e.Envelope.Subject(DeadSubject)) {
		if err != nil {
			return nil, err
		}
		if m.Event.ID == e.ID && m.Letter().LogSeq == seq {
			letters = append(letters, m)
		}
	}
	return letters, nil
}

// GetLetter reads one dead letter. The error is [ErrNotFound] when it is not there.
func (l *Log) GetLetter(ctx context.Context, seq uint64) (*Message, error) {
	return l.get(ctx, DeadStream, seq)
}

// shorten cuts a text to maxDeadError bytes, between two characters.
func shorten(s string) string {
	if len(s) <= maxDeadError {
		return s
	}
	n := maxDeadError
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
