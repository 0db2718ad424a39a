package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// syncSubject takes the requests of other processes to force the log onto the disk: only
// the one with the embedded server can.
const syncSubject = "clerk.sync"

// Sync returns when every event that any process has stored before the call is durable.
// [Log.Append] does it in the process that has the embedded server. A command that stores
// events through another process calls Sync before it relies on them. On a server of its
// own, the acknowledgement of an event is all that there is, and Sync does nothing.
func (l *Log) Sync(ctx context.Context) error {
	if l.disk != nil {
		l.disk.announce()
		return l.disk.await(ctx)
	}
	if l.replicated.Load() {
		return nil
	}
	ctx, cancel := l.link.whileUp(ctx, commitTimeout)
	defer cancel()
	reply, err := l.nc.RequestWithContext(ctx, syncSubject, nil)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w: sync: %w", ErrUnavailable, context.Cause(ctx))
	case err != nil:
		return fmt.Errorf("%w: sync: %w", ErrUnavailable, err)
	case len(reply.Data) > 0:
		return fmt.Errorf("%w: sync: %s", ErrUnavailable, reply.Data)
	}
	return nil
}

// serveSync forces the log onto the disk for other processes, until closing. An empty
// answer is success, another the error.
func (l *Log) serveSync() error {
	requests, err := l.nc.SubscribeSync(syncSubject)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", syncSubject, err)
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
			if err := l.Sync(ctx); err != nil {
				answer = []byte(err.Error())
			}
			if err := msg.Respond(answer); err != nil {
				l.logger.Warn("a request to sync was not answered", "err", err)
			}
		}
	})
	return nil
}
