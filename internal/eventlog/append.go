package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

const (
	// commitTimeout is shorter than the receiver's deadline, so that the receiver
	// still answers when the server does not.
	commitTimeout = 8 * time.Second

	// headroom is kept free in every message, in bytes, for headers that are added
	// later: those of a batch, or those of a dead letter with its error. So every
	// event in the log can be committed in a batch, and parked.
	headroom = 1024
)

// Stored is the position of an event in the log.
type Stored struct {
	Seq       uint64
	Duplicate bool // it was stored before
}

// Append stores an event. When it returns without an error, the event is durable:
// on an embedded server forced onto the disk, on a cluster acknowledged by the
// stream's replicas.
//
// Concurrent calls share a group commit: an fsync of the embedded server, or an atomic
// batch on another. A single call does not wait for others.
//
// The error is [ErrUnavailable] or [ErrTooLarge].
func (l *Log) Append(ctx context.Context, e *clerk.Event) (Stored, error) {
	return l.append(ctx, newMsg(Subject, e))
}

// AppendParked is Append for the event of a dead letter: it is stored even when JetStream
// still remembers the same delivery.
func (l *Log) AppendParked(ctx context.Context, e *clerk.Event, letter uint64) (Stored, error) {
	msg := newMsg(Subject, e)
	msg.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s/letter/%d", e.ID, letter))
	return l.append(ctx, msg)
}

func (l *Log) append(ctx context.Context, msg *nats.Msg) (Stored, error) {
	o := l.opened.Load()
	if o == nil {
		return Stored{}, errNotOpen
	}
	if size := int64(msg.Size()) + headroom; size > l.nc.MaxPayload() {
		return Stored{}, fmt.Errorf("%w: %d bytes with headers, the server takes %d", ErrTooLarge, size, l.nc.MaxPayload())
	}
	if o.group != nil {
		return o.group.commit(ctx, msg)
	}
	if l.disk == nil {
		return l.publish(ctx, msg)
	}
	if err := l.disk.check(); err != nil {
		return Stored{}, err
	}
	l.disk.announce()
	stored, err := l.publish(ctx, msg)
	if err != nil {
		l.disk.leave()
		return Stored{}, l.disk.explain(err)
	}
	if err := l.disk.await(ctx); err != nil {
		return Stored{}, err
	}
	return stored, nil
}

// pubAck is JetStream's answer to a message or a batch.
type pubAck struct {
	Seq       uint64 `json:"seq"` // of the last message
	Duplicate bool   `json:"duplicate"`
	Count     int    `json:"count"` // of the messages in the batch
	Error     *struct {
		Code        int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// refusedError is JetStream's refusal: nothing was stored.
type refusedError struct {
	code        int
	description string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("%s (JetStream error %d)", e.description, e.code)
}

// publish stores one message.
func (l *Log) publish(ctx context.Context, msg *nats.Msg) (Stored, error) {
	ctx, cancel := l.link.whileUp(ctx, commitTimeout)
	defer cancel()
	ack, err := l.request(ctx, msg)
	if err != nil {
		return Stored{}, err
	}
	return Stored{Seq: ack.Seq, Duplicate: ack.Duplicate}, nil
}

func (l *Log) request(ctx context.Context, msg *nats.Msg) (*pubAck, error) {
	if ctx.Err() != nil { // publishing would only fill the client's buffer
		return nil, fmt.Errorf("%w: publish: %w", ErrUnavailable, context.Cause(ctx))
	}
	reply, err := l.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("%w: publish: %w", ErrUnavailable, err)
	}
	var ack pubAck
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return nil, fmt.Errorf("%w: unreadable acknowledgement", ErrUnavailable)
	}
	if ack.Error != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, &refusedError{ack.Error.Code, ack.Error.Description})
	}
	return &ack, nil
}

var (
	errNoAnswer = errors.New("no answer from JetStream")
	errLost     = errors.New("the connection to NATS was lost")
)
