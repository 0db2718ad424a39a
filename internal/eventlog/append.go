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

	// retryAfter is when a cluster that has not answered gets the message again: the leader
	// of the stream may be gone. retryPause is the time after an answer that there is no
	// leader; electing one takes some seconds.
	retryAfter = 2 * time.Second
	retryPause = 250 * time.Millisecond

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
	if err := l.checkSize(msg); err != nil {
		return Stored{}, err
	}
	if l.disk != nil {
		if err := l.disk.check(); err != nil {
			return Stored{}, err
		}
	}
	if o.group == nil {
		return l.publish(ctx, msg)
	}
	return o.group.commit(ctx, msg)
}

// checkSize returns [ErrTooLarge] when the server would not take a message.
func (l *Log) checkSize(msg *nats.Msg) error {
	if size := int64(msg.Size()) + headroom; size > l.nc.MaxPayload() {
		return fmt.Errorf("%w: %d bytes with headers, the server takes %d", ErrTooLarge, size, l.nc.MaxPayload())
	}
	return nil
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
	if l.replicated.Load() {
		return l.publishRetried(ctx, msg, false)
	}
	ctx, cancel := l.link.whileUp(ctx, commitTimeout)
	defer cancel()
	ack, err := l.request(ctx, msg)
	if err != nil {
		return Stored{}, err
	}
	return Stored{Seq: ack.Seq, Duplicate: ack.Duplicate}, nil
}

// publishRetried stores one message in a cluster. While there is no answer, it sends the
// message again: the cluster stores an id once within duplicateWindow. A duplicate then
// counts as stored, as it does when the message was sent before: it may be the first copy.
func (l *Log) publishRetried(ctx context.Context, msg *nats.Msg, sentBefore bool) (_ Stored, err error) {
	defer func() {
		if errors.Is(err, errNoAnswer) {
			l.leaveNode()
		}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, commitTimeout, noAnswer(commitTimeout))
	defer cancel()
	type answer struct {
		ack *pubAck
		err error
	}
	answers := make(chan answer)
	send := func() {
		attempt, cancel := l.link.whileUp(ctx, commitTimeout)
		defer cancel()
		ack, err := l.request(attempt, msg)
		select {
		case answers <- answer{ack, err}:
		case <-ctx.Done():
		}
	}
	go send()
	again := time.NewTimer(retryAfter)
	defer again.Stop()
	for {
		select {
		case a := <-answers:
			switch {
			case a.err == nil:
				return Stored{Seq: a.ack.Seq, Duplicate: a.ack.Duplicate && !sentBefore}, nil
			case !leaderless(a.err):
				return Stored{}, a.err
			}
			again.Reset(retryPause)
		case <-again.C:
			sentBefore = true
			go send()
			again.Reset(retryAfter)
		case <-ctx.Done():
			return Stored{}, fmt.Errorf("%w: publish: %w", ErrUnavailable, context.Cause(ctx))
		}
	}
}

// leaderless reports whether a cluster may take the message soon: there is no leader now,
// the connection is being made again, or an earlier copy of the message is on its way.
func leaderless(err error) bool {
	var refused *refusedError
	if errors.As(err, &refused) {
		switch refused.code {
		case codeNotAvailable, codeNotLeader, codeDuplicateInProcess:
			return true
		}
	}
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, errLost)
}

// Error codes of JetStream that a cluster answers between two leaders, with the server's
// identifiers.
const (
	codeNotAvailable       = 10008 // JSClusterNotAvailErr
	codeNotLeader          = 10009 // JSClusterNotLeaderErr
	codeDuplicateInProcess = 10158 // JSStreamDuplicateMessageConflict
)

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
	return readAck(reply)
}

func readAck(reply *nats.Msg) (*pubAck, error) {
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

func noAnswer(limit time.Duration) error { return fmt.Errorf("%w within %s", errNoAnswer, limit) }
