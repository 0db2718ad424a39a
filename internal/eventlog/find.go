package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// FindProbe looks for the probe with a svix-id among those that were stored after a
// sequence. The error is [ErrNotFound] when it is not there.
func (l *Log) FindProbe(ctx context.Context, id string, after uint64) (*Message, error) {
	stream, err := l.js.Stream(ctx, Stream)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", Stream, err)
	}
	subject := fmt.Sprintf("%s.%s.>", Subject, clerk.ProbeType)
	for {
		msg, err := stream.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(subject))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil, fmt.Errorf("probe %s: %w", id, ErrNotFound)
		case err != nil:
			return nil, fmt.Errorf("read stream %s: %w", Stream, err)
		}
		if m := newRawMessage(msg); m.Event.ID == id {
			return m, nil
		}
		after = msg.Sequence
	}
}
