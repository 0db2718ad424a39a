package eventlog

import (
	"context"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// The headers that a dead letter has besides those of its event.
const (
	headerDeadReason   = "Clerksync-Dead-Reason"
	headerDeadError    = "Clerksync-Dead-Error"
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
	Attempts uint64 // how often it was delivered
	Seq      uint64 // where it stands in the log, 0 when it was never there
}

// Park stores an event that can never be applied as a dead letter, durably. The
// error is [ErrUnavailable] or [ErrTooLarge].
func (l *Log) Park(ctx context.Context, e *clerk.Event, d Death) error {
	msg := newMsg(DeadSubject, e)
	// The same delivery parked twice is one letter.
	msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s/%d", e.ID, d.Seq))
	msg.Header.Set(headerDeadReason, d.Reason)
	msg.Header.Set(headerDeadError, shorten(d.Err.Error()))
	msg.Header.Set(headerDeadAt, formatTime(time.Now()))
	msg.Header.Set(headerDeadAttempts, strconv.FormatUint(d.Attempts, 10))
	msg.Header.Set(headerDeadSeq, strconv.FormatUint(d.Seq, 10))
	if size := int64(msg.Size()); size > l.nc.MaxPayload() {
		return fmt.Errorf("%w: %d bytes with headers, the server takes %d", ErrTooLarge, size, l.nc.MaxPayload())
	}
	if err := l.park(ctx, msg); err != nil {
		return fmt.Errorf("park event: %w", err)
	}
	return nil
}

func (l *Log) park(ctx context.Context, msg *nats.Msg) error {
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
