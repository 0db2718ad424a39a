package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
// It survives the loss of the connection, and of the consumer itself. A [*Refusal] it
// reports to [Log.Fatal].
func (l *Log) Consume(ctx context.Context, deliver func(*Message)) error {
	for {
		err := l.consume(ctx, deliver)
		if ctx.Err() != nil {
			return nil
		}
		if isRefusal(err) {
			l.end(err)
			<-ctx.Done()
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

// TakeBack has the server redeliver at once, and not after ackWait, what a killed
// predecessor had in work, if this process has the log to itself. It is called before
// [Log.Consume], and reports whether the consumer may have been reset: its count of
// deliveries then begins at 0. The error is [ErrUnavailable].
func (l *Log) TakeBack(ctx context.Context) (reset bool, err error) {
	if !l.exclusive {
		return false, nil
	}
	consumer, err := l.consumerInfo(ctx)
	switch {
	case err != nil:
		return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case consumer == nil || consumer.NumAckPending == 0:
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resetTimeout)
	defer cancel()
	if _, err := l.js.ResetConsumer(ctx, Stream, ConsumerName); err != nil {
		l.logger.Warn("the consumer was not reset: events in flight at a predecessor are redelivered later", "err", err, "delay", ackWait)
	}
	return true, nil
}

func (l *Log) consume(ctx context.Context, deliver func(*Message)) error {
	consumer, err := l.ensureConsumer(ctx)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	// Without one of these permissions, nothing arrives, or the same again and again.
	defer l.permitted.listen(func(d *deniedError) bool {
		ours := strings.Contains(d.subject, ".CONSUMER.MSG.NEXT."+Stream+"."+ConsumerName) || strings.HasPrefix(d.subject, "$JS.ACK.")
		if ours {
			select {
			case failed <- d:
			default:
			}
		}
		return ours
	})()
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
		reportGone(failed, func() {
			if !l.replicated.Load() {
				return
			}
			err := within(ctx, openTimeout, func(ctx context.Context) error { _, err := l.consumerInfo(ctx); return err })
			if away(err) && ctx.Err() == nil {
				l.leaveNode()
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
		run.Drain() // delivers what the client has buffered, so that it is returned
	} else {
		run.Stop() // without a server, nothing can be returned
	}
	<-run.Closed()
	return err
}

// reportGone sends the error when the consumer is gone from the server, and calls silent when
// the server has sent nothing for long. The client itself handles missing heartbeats and lost
// connections.
func reportGone(gone chan<- error, silent func()) jetstream.PullConsumeOpt {
	return jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		switch {
		case isGone(err):
			select {
			case gone <- err:
			default:
			}
		case errors.Is(err, jetstream.ErrNoHeartbeat):
			silent()
		}
	})
}

func isGone(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound)
}
