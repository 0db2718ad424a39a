package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Reader reads the log and changes nothing on the server, not even its settings.
type Reader struct{ js jetstream.JetStream }

// NewReader makes a reader. The connection stays the caller's.
func NewReader(nc *nats.Conn) (*Reader, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &Reader{js}, nil
}

// EntityEvents calls f for every stored event about the entity with a Clerk id, in
// the order of the log, until f returns false. The server seeks them by subject.
func (r *Reader) EntityEvents(ctx context.Context, id string, f func(*Message) bool) error {
	if !clerk.ValidToken(id) {
		return fmt.Errorf("read events: %q is not a Clerk id", id)
	}
	stream, err := r.js.Stream(ctx, Stream)
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
