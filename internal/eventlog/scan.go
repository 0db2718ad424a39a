package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Attach opens the log to read it, and changes nothing on the server. Append and
// Consume are not for a log opened like this.
func Attach(nc *nats.Conn) (*Log, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &Log{nc: nc, js: js, logger: slog.New(slog.DiscardHandler)}, nil
}

// EntityEvents calls f for every stored event about the entity with a Clerk id, in
// the order of the log, until f returns false. The server seeks them by subject.
func (l *Log) EntityEvents(ctx context.Context, id string, f func(*Message) bool) error {
	if !clerk.ValidToken(id) {
		return fmt.Errorf("read events: %q is not a Clerk id", id)
	}
	stream, err := l.js.Stream(ctx, Stream)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", Stream, err)
	}
	filter := Subject + ".*.*." + id + ".*.*"
	for seq := uint64(1); ; {
		msg, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read stream %s: %w", Stream, err)
		}
		m := &Message{Event: newEvent(msg.Header, msg.Data), Seq: msg.Sequence, StoredAt: msg.Time}
		if !f(m) {
			return nil
		}
		seq = msg.Sequence + 1
	}
}
