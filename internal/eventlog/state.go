package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// State is what the log holds.
type State struct {
	First, Last     uint64 // sequences; of an empty log, Last is that of the last event it had
	FirstAt, LastAt time.Time
	Events, Bytes   uint64

	// AppliedThrough: every event up to this sequence is settled, applied or parked;
	// of those after it, some may be. 0 when no worker was ever started.
	AppliedThrough uint64
}

// State reads what the log holds.
func (l *Log) State(ctx context.Context) (State, error) {
	info, err := l.streamInfo(ctx, Stream)
	if err != nil {
		return State{}, err
	}
	consumer, err := l.consumerInfo(ctx)
	if err != nil {
		return State{}, err
	}
	state := State{
		First: info.State.FirstSeq, Last: info.State.LastSeq, FirstAt: info.State.FirstTime, LastAt: info.State.LastTime,
		Events: info.State.Msgs, Bytes: info.State.Bytes,
	}
	if consumer != nil {
		state.AppliedThrough = consumer.AckFloor.Stream
	}
	return state, nil
}

// Backlog is the part of the log that is not applied yet. The server counts it, so it is
// right whether or not events arrive and workers run.
type Backlog struct {
	At time.Time // when it was read, by the server's clock

	LogID                   string    // as [Log.ID], of the log that is there now
	Created                 time.Time // of the log
	Events, Bytes, MaxBytes uint64    // of the whole log; MaxBytes 0: no limit but the disk
	First, Last             uint64    // sequences, as in [State]
	AppliedThrough          uint64    // as in [State]
	Floor                   Floor

	Pending uint64   // stored and not yet applied
	InWork  uint64   // of those, delivered to a worker
	Asking  bool     // a worker waits for events
	Oldest  *Message // the first that is pending; nil when none is, or when the server cannot tell which

	DeadLetters uint64
	LastLetter  uint64 // sequence of the newest dead letter there ever was
}

// Floor is how far the projector's consumer has passed through the log. It passes an event
// by a delivery, also a repeated one, or because the event is no longer there. So of two
// floors, the later one has at least as many deliveries more as it passed events that were
// applied.
type Floor struct {
	Seq        uint64 // the consumer is done with everything up to this sequence
	Deliveries uint64 // of the consumer, up to Seq; a reset begins at 0
}

// floorOf returns the floor of the consumer, which may be nil.
func floorOf(first uint64, consumer *jetstream.ConsumerInfo) (floor Floor) {
	inWork := 0
	if consumer != nil {
		floor.Seq, floor.Deliveries, inWork = consumer.AckFloor.Stream, consumer.AckFloor.Consumer, consumer.NumAckPending
	}
	// The server moves the consumer past events that are gone when it is next at work. It
	// may still count a delivery of some of them when one is in work.
	if inWork == 0 && first > 0 {
		floor.Seq = max(floor.Seq, first-1)
	}
	return floor
}

// Backlog reads what is not applied yet.
func (l *Log) Backlog(ctx context.Context) (*Backlog, error) {
	info, err := l.streamInfo(ctx, Stream)
	if err != nil {
		return nil, err
	}
	b := &Backlog{
		At: info.TimeStamp, LogID: readID(info), Created: info.Created,
		Events: info.State.Msgs, Bytes: info.State.Bytes, First: info.State.FirstSeq, Last: info.State.LastSeq,
		MaxBytes: uint64(max(info.Config.MaxBytes, 0)), Pending: info.State.Msgs,
	}
	consumer, err := l.consumerInfo(ctx)
	if err != nil {
		return nil, err
	}
	b.Floor = floorOf(b.First, consumer)
	if consumer != nil {
		b.AppliedThrough = consumer.AckFloor.Stream
		b.InWork = uint64(consumer.NumAckPending)
		b.Pending = consumer.NumPending + b.InWork
		b.Asking = consumer.NumWaiting > 0
	}
	// The counts trail: the server updates them shortly after it stores an event or
	// makes a consumer. So the next event itself decides whether something is pending.
	switch b.Oldest, err = l.getFrom(ctx, Stream, b.AppliedThrough+1, Subject+".>"); {
	case err == nil:
		b.Pending = max(b.Pending, 1)
	case !errors.Is(err, ErrNotFound):
		return nil, err
	case b.Last <= b.AppliedThrough: // the rest of the count was erased
		b.Pending, b.InWork = 0, 0
	}
	dead, err := l.streamInfo(ctx, DeadStream)
	if err != nil {
		return nil, err
	}
	b.DeadLetters, b.LastLetter = dead.State.Msgs, dead.State.LastSeq
	return b, nil
}

// DeadLetters returns the number of dead letters.
func (l *Log) DeadLetters(ctx context.Context) (uint64, error) {
	info, err := l.streamInfo(ctx, DeadStream)
	if err != nil {
		return 0, err
	}
	return info.State.Msgs, nil
}

// streamInfo reads the current info of a stream.
func (l *Log) streamInfo(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	stream, err := l.readStream(ctx, name)
	if err != nil {
		return nil, err
	}
	return stream.CachedInfo(), nil
}

func (l *Log) readStream(ctx context.Context, name string) (stream jetstream.Stream, err error) {
	err = l.permitted.ask(ctx, ".API.STREAM.INFO."+name, func(ctx context.Context) (err error) {
		stream, err = l.js.Stream(ctx, name)
		return err
	})
	if err != nil {
		return nil, readError(name, err)
	}
	return stream, nil
}

func readError(stream string, err error) error { return fmt.Errorf("read stream %s: %w", stream, err) }

// consumerInfo reads the current info of the projector's consumer: nil when no worker
// was ever started.
func (l *Log) consumerInfo(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	var consumer jetstream.Consumer
	err := l.permitted.ask(ctx, ".API.CONSUMER.INFO."+Stream+".", func(ctx context.Context) (err error) {
		consumer, err = l.js.Consumer(ctx, Stream, ConsumerName)
		return err
	})
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read consumer %s: %w", ConsumerName, err)
	}
	return consumer.CachedInfo(), nil
}
