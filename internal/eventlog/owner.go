package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// The owner is the process with the embedded server. It does what needs the server's files
// for other processes: erase and sync. An empty answer is success, another the error.

// askOwner sends a request to the owner. The error is [errors.ErrUnsupported] when there
// is none, as with a NATS server of its own.
func (l *Log) askOwner(ctx context.Context, subject string, request []byte, timeout time.Duration) error {
	ctx, cancel := l.link.whileUp(ctx, timeout)
	defer cancel()
	reply, err := l.nc.RequestWithContext(ctx, subject, request)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return errors.ErrUnsupported
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case len(reply.Data) > 0:
		return errors.New(string(reply.Data))
	}
	return nil
}

// serveOwner answers the requests to a subject, one after the other, until closing.
func (l *Log) serveOwner(subject string, handle func(ctx context.Context, request []byte) error) error {
	requests, err := l.nc.SubscribeSync(subject)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.loops.Go(func() {
		<-l.closing
		cancel()
	})
	l.loops.Go(func() {
		defer requests.Unsubscribe()
		for {
			msg, err := requests.NextMsgWithContext(ctx)
			if err != nil {
				return
			}
			var answer []byte
			if err := handle(ctx, msg.Data); err != nil {
				answer = []byte(err.Error())
			}
			if err := msg.Respond(answer); err != nil {
				l.logger.Warn("a request of another process was not answered", "subject", subject, "err", err)
			}
		}
	})
	return nil
}
