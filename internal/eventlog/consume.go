package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// prefetch events are kept ready in this process, so that the appliers do not
	// wait for the network; prefetchBytes is for large ones.
	prefetch      = 2000
	prefetchBytes = 32 << 20

	// restartDelay is the pause before a consumer that went away is set up again.
	restartDelay = time.Second

	// resetTimeout is how long an answer to a reset is waited for. Servers before
	// 2.14 have none, and give no sign of it.
	resetTimeout = 2 * time.Second
)

// Consume delivers stored events that are not settled, in about the order of
// the log, until ctx ends. It blocks while deliver does, and never calls it
// twice at once.
//
// It outlives the loss of the connection, and of the consumer itself.
func (l *Log) Consume(ctx context.Context, deliver func(*Message)) error {
	if l.exclusive {
		if err := l.takeBack(ctx); err != nil {
			return err
		}
	}
	for {
		err := l.consume(ctx, deliver)
		if ctx.Err() != nil {
			return nil
		}
		l.logger.Warn("the consumer stopped and is set up again", "err", err, "delay", restartDelay)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartDelay):
		}
	}
}

// takeBack makes what a predecessor had in hand when it was killed deliverable at
// once, rather than after ackWait: nobody else can have it.
func (l *Log) takeBack(ctx context.Context) error {
	consumer, err := l.ensureConsumer(ctx)
	if err != nil {
		return err
	}
	if consumer.CachedInfo().NumAckPending == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, resetTimeout)
	defer cancel()
	if _, err := l.js.ResetConsumer(ctx, Stream, ConsumerName); err != nil {
		l.logger.Warn("the consumer was not reset: what a predecessor had in hand comes later", "err", err, "delay", ackWait)
	}
	return nil
}

func (l *Log) consume(ctx context.Context, deliver func(*Message)) error {
	consumer, err := l.ensureConsumer(ctx)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	run, err := consumer.Consume(
		func(msg jetstream.Msg) {
			m, err := newMessage(msg)
			if err != nil {
				l.logger.Error("a message without JetStream's metadata was left", "err", err)
				return
			}
			deliver(m)
		},
		jetstream.PullMaxMessagesWithBytesLimit(prefetch, prefetchBytes),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			// Missing heartbeats and lost connections are handled by the client.
			if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
				select {
				case failed <- err:
				default:
				}
			}
		}),
	)
	if err != nil {
		return fmt.Errorf("consume %s: %w", ConsumerName, err)
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	case <-run.Closed():
		err = errors.New("closed by the client")
	}
	if l.nc.IsConnected() {
		run.Drain() // what the client has buffered goes through deliver as well, to be given back
	} else {
		run.Stop() // there is nobody to give it back to
	}
	<-run.Closed()
	return err
}
