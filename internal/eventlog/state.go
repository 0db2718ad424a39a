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
	stream, err := l.js.Stream(ctx, Stream)
	if err != nil {
		return State{}, fmt.Errorf("read stream %s: %w", Stream, err)
	}
	info := stream.CachedInfo().State
	state := State{
		First: info.FirstSeq, Last: info.LastSeq, FirstAt: info.FirstTime, LastAt: info.LastTime,
		Events: info.Msgs, Bytes: info.Bytes,
	}
	consumer, err := l.js.Consumer(ctx, Stream, ConsumerName)
	switch {
	case err == nil:
		state.AppliedThrough = consumer.CachedInfo().AckFloor.Stream
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return State{}, fmt.Errorf("read consumer %s: %w", ConsumerName, err)
	}
	return state, nil
}
