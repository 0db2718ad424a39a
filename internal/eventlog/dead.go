package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/clerksync/clerksync/internal/clerk"
)

// The headers that a dead letter has besides those of its event.
const (
	headerDeadReason   = "Clerksync-Dead-Reason"
	headerDeadError    = "Clerksync-Dead-Error"
	headerDeadFirstAt  = "Clerksync-Dead-First-At"
	headerDeadAt       = "Clerksync-Dead-At"
	headerDeadAttempts = "Clerksync-Dead-Attempts"
	headerDeadSeq      = "Clerksync-Dead-Seq"
)

// maxDeadError is what is kept of an error's text. With it, the headers above fit
// into the [headroom] of a stored event.
const maxDeadError = 512

// Death says why an event is parked.
type Death struct {
	Reason   string // one of a closed set, see clerk.Reason; "refused" when PostgreSQL does not take it
	Err      error  // its text has no content of the event in it
	Attempts uint64 // how often it was tried
	Seq      uint64 // where it stands in the log, 0 when it was never there
}

// Letter is what a dead letter says besides its event.
type Letter struct {
	Reason   string    `json:"reason"`
	Error    string    `json:"error"`
	Attempts uint64    `json:"attempts"`
	FirstAt  time.Time `json:"first_at"` // when it was parked for the first time
	LastAt   time.Time `json:"last_at"`  // and after the latest attempt
	LogSeq   uint64    `json:"log_seq"`  // sequence of its event in the log, 0 when it was parked on its arrival
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

// ParkAgain is Park for an event that has a letter already, or may have: one that was
// read from the log once more, or from the letter itself, which is given then. The new
// letter takes the place of those, with their attempts and the time of the first.
func (l *Log) ParkAgain(ctx context.Context, e *clerk.Event, d Death, given ...*Message) error {
	found, err := l.lettersOf(ctx, e, d.Seq)
	if err != nil {
		return fmt.Errorf("look for the dead letter: %w", err)
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
	// An id that JetStream cannot remember: not that of the letter that it replaces,
	// nor of one that was removed since.
	if err := l.park(ctx, e, d, fmt.Sprintf("%s/%d/%s", e.ID, d.Seq, nuid.Next()), first); err != nil {
		return err
	}
	for seq := range former {
		if err := l.RemoveLetter(ctx, seq); err != nil {
			return err
		}
	}
	return nil
}

// park publishes a letter. Zero stands for the first time being now.
func (l *Log) park(ctx context.Context, e *clerk.Event, d Death, id string, first time.Time) error {
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
		return l.disk.settle(err)
	}
	return l.disk.force(DeadStream)
}

// lettersOf are the letters that an event has: of the same delivery, from the same
// place in the log.
func (l *Log) lettersOf(ctx context.Context, e *clerk.Event, seq uint64) ([]*Message, error) {
	stream, err := l.js.Stream(ctx, DeadStream)
	if err != nil {
		return nil, err
	}
	var letters []*Message
	subject := e.Envelope.Subject(DeadSubject)
	for next := uint64(1); ; {
		msg, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return letters, nil
		}
		if err != nil {
			return nil, err
		}
		if m := newRawMessage(msg); m.Event.ID == e.ID && m.Letter().LogSeq == seq {
			letters = append(letters, m)
		}
		next = msg.Sequence + 1
	}
}

// GetLetter reads one dead letter. The error is [ErrNotFound] when it is not there.
func (l *Log) GetLetter(ctx context.Context, seq uint64) (*Message, error) {
	return l.get(ctx, DeadStream, seq)
}

// RemoveLetter deletes a dead letter, and what it held from the server's files. One
// that is gone already is no error.
func (l *Log) RemoveLetter(ctx context.Context, seq uint64) error {
	return l.remove(ctx, DeadStream, seq)
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
