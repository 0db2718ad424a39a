package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrNotFound means that nothing is stored under a sequence.
var ErrNotFound = errors.New("not in the log: it never was, or is too old, or was erased")

// Get reads one event. The error is [ErrNotFound] when it is not there.
func (l *Log) Get(ctx context.Context, seq uint64) (*Message, error) {
	return l.get(ctx, Stream, seq)
}

func (l *Log) get(ctx context.Context, name string, seq uint64) (*Message, error) {
	stream, err := l.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", name, err)
	}
	msg, err := stream.GetMsg(ctx, seq)
	switch {
	case seq == 0, errors.Is(err, jetstream.ErrMsgNotFound): // they begin with 1
		return nil, fmt.Errorf("%s %d: %w", name, seq, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("read stream %s: %w", name, err)
	}
	return newRawMessage(msg), nil
}
