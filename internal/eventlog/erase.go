package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// Erase deletes an event, and overwrites what it held in the server's files. One that
// is gone already is no error.
func (l *Log) Erase(ctx context.Context, seq uint64) error {
	return l.remove(ctx, Stream, seq)
}

// remove deletes a message and overwrites it in the files of the stream.
func (l *Log) remove(ctx context.Context, name string, seq uint64) error {
	stream, err := l.js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", name, err)
	}
	err = stream.SecureDeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		if _, getErr := l.get(ctx, name, seq); errors.Is(getErr, ErrNotFound) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("delete %d of stream %s: %w", seq, name, err)
	}
	return nil
}

// PersonalEvents calls f for every event under the id of a user: the user's own, and
// those of others that name the user, such as memberships.
//
// It does not rely on what the log says about its resources: what is to be erased
// has to be found.
func (l *Log) PersonalEvents(ctx context.Context, user string, f func(*Message) error) error {
	s, err := l.scan(ctx, Stream, Subject, []string{anyResource}, Filter{User: user}, false)
	if err != nil {
		return err
	}
	return s.Each(ctx, f)
}
