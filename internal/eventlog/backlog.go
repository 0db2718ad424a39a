package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Backlog is what of the log is not applied yet. It is the server's knowledge, and so
// right whether or not events flow and workers run.
type Backlog struct {
	At time.Time // when it was read, by the server's clock if it tells

	Events, Bytes, MaxBytes uint64 // of the whole log; MaxBytes 0: no limit but the disk
	Last                    uint64 // sequence of the newest event
	AppliedThrough          uint64 // every event up to it is settled; 0 when no worker was ever started

	Pending uint64   // stored and not yet applied
	InWork  uint64   // of those, delivered to a worker
	Asking  bool     // a worker waits for events
	Oldest  *Message // the first that is pending; nil when nothing is, or when it cannot be told which

	DeadLetters uint64
}

// Backlog reads what is not applied yet.
func (l *Log) Backlog(ctx context.Context) (*Backlog, error) {
	stream, err := l.js.Stream(ctx, Stream)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", Stream, err)
	}
	info := stream.CachedInfo()
	b := &Backlog{
		At: info.TimeStamp, Events: info.State.Msgs, Bytes: info.State.Bytes, Last: info.State.LastSeq,
		MaxBytes: uint64(max(info.Config.MaxBytes, 0)),
	}
	if b.At.IsZero() { // before 2.10
		b.At = time.Now()
	}
	consumer, err := l.js.Consumer(ctx, Stream, ConsumerName)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound): // no worker was ever started
		b.Pending = info.State.Msgs
	case err != nil:
		return nil, fmt.Errorf("read consumer %s: %w", ConsumerName, err)
	default:
		state := consumer.CachedInfo()
		b.AppliedThrough = state.AckFloor.Stream
		b.InWork = uint64(state.NumAckPending)
		b.Pending = state.NumPending + b.InWork
		b.Asking = state.NumWaiting > 0
	}
	// Not only when something is counted: the server counts a moment after it stores, and
	// after it makes a consumer. What waits is not to be called nothing.
	switch oldest, err := stream.GetMsg(ctx, b.AppliedThrough+1, jetstream.WithGetMsgSubject(Subject+".>")); {
	case err == nil:
		b.Oldest = newRawMessage(oldest)
		b.Pending = max(b.Pending, 1)
	case !errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("read stream %s: %w", Stream, err)
	case b.Last <= b.AppliedThrough: // all there is; what else is counted was erased
		b.Pending, b.InWork = 0, 0
	}
	if b.DeadLetters, err = l.DeadLetters(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// Pending is the number of events that are stored and not yet applied.
func (l *Log) Pending(ctx context.Context) (uint64, error) {
	b, err := l.Backlog(ctx)
	if err != nil {
		return 0, err
	}
	return b.Pending, nil
}

// DeadLetters is the number of dead letters that are parked.
func (l *Log) DeadLetters(ctx context.Context) (uint64, error) {
	stream, err := l.js.Stream(ctx, DeadStream)
	if err != nil {
		return 0, fmt.Errorf("read stream %s: %w", DeadStream, err)
	}
	return stream.CachedInfo().State.Msgs, nil
}
