package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// prefetch is how many events this process keeps ready, so that the appliers do
	// not wait for the network; prefetchBytes bounds large ones.
	prefetch      = 2000
	prefetchBytes = 32 << 20

	// restartDelay is the pause before a lost consumer is set up again.
	restartDelay = time.Second

	// resetTimeout bounds a reset of the consumer. Servers before 2.14 do not know it
	// and do not answer.
	resetTimeout = 2 * time.Second
)

// Consume delivers events that are not settled, roughly in the order of the log, until
// ctx ends. It calls deliver for one event after the other, and waits while it blocks.
//
// It survives the loss of the connection, and of the consumer itself.
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

// takeBack has the server redeliver at once, and not after ackWait, what a killed
// predecessor had in flight.
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
	_, err = l.js.ResetConsumer(ctx, Stream, ConsumerName)
	l.carried.Add(consumer.CachedInfo().AckFloor.Consumer) // the count of deliveries begins again
	if err != nil {
		l.logger.Warn("the consumer was not reset: events in flight at a predecessor are redelivered later", "err", err, "delay", ackWait)
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
				l.logger.Error("skip a message without JetStream's metadata", "err", err)
				return
			}
			deliver(m)
		},
		jetstream.PullMaxMessagesWithBytesLimit(prefetch, prefetchBytes),
		reportGone(failed),
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
		run.Drain() // delivers what the client has buffered, so that it is returned
	} else {
		run.Stop() // without a server, nothing can be returned
	}
	<-run.Closed()
	return err
}

// reportGone sends the error when the consumer is gone from the server. The client
// itself handles missing heartbeats and lost connections.
func reportGone(gone chan<- error) jetstream.PullConsumeOpt {
	return jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if isGone(err) {
			select {
			case gone <- err:
			default:
			}
		}
	})
}

func isGone(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound)
}
