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
)

// Consume delivers stored events that are not settled, in about the order of
// the log, until ctx ends. It blocks while deliver does, and never calls it
// twice at once.
//
// It outlives the loss of the connection, and of the consumer itself.
func (l *Log) Consume(ctx context.Context, deliver func(*Message)) error {
	if l.exclusive {
		// Nobody else can have these in hand.
		_, err := l.js.ResetConsumer(ctx, Stream, ConsumerName)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("reset consumer %s: %w", ConsumerName, err)
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
			// Missing heartbeats and lost connections are mended by the client.
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
	run.Drain() // what the client has buffered goes through deliver as well, to be given back
	<-run.Closed()
	return err
}
