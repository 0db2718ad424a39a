package eventlog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// inflow is what comes from a consumer, as fast as it is taken: the server is asked
// for more only when there is room. The client's own iterator has room for as many
// messages as it asks for, and drops some when the server says something beside them.
type inflow struct {
	messages chan jetstream.Msg
	failed   chan error // the consumer is gone
	run      jetstream.ConsumeContext
	done     chan struct{}
	stop     func()
}

// openInflow begins to read, with so many messages on their way at most.
func openInflow(consumer jetstream.Consumer, ahead int) (*inflow, error) {
	// No buffer: what is sent ahead is counted in bytes, and is enough.
	f := &inflow{messages: make(chan jetstream.Msg), failed: make(chan error, 1), done: make(chan struct{})}
	var err error
	f.run, err = consumer.Consume(
		func(msg jetstream.Msg) {
			select {
			case f.messages <- msg:
			case <-f.done:
			}
		},
		jetstream.PullMaxMessagesWithBytesLimit(ahead, scanAheadBytes),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			// Lost connections and missing heartbeats show as messages that do not come.
			if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
				select {
				case f.failed <- err:
				default:
				}
			}
		}),
	)
	if err != nil {
		return nil, err
	}
	f.stop = sync.OnceFunc(func() {
		close(f.done)
		f.run.Stop()
		<-f.run.Closed()
	})
	return f, nil
}

// next returns the next message, nil when none came for a while.
func (f *inflow) next(ctx context.Context, idle time.Duration) (jetstream.Msg, error) {
	select {
	case msg := <-f.messages: // most often it is there: no timer for it
		return msg, nil
	default:
	}
	timer := time.NewTimer(idle)
	defer timer.Stop()
	select {
	case msg := <-f.messages:
		return msg, nil
	case err := <-f.failed:
		return nil, err
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
