package projector

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// largeEvents is a log of events of 1 MiB.
type largeEvents struct{ delivered int }

func (l *largeEvents) Consume(ctx context.Context, deliver func(*eventlog.Message)) error {
	body := make([]byte, 1<<20) // not JSON, and so parked
	for seq := range uint64(100) {
		deliver(&eventlog.Message{Event: &clerk.Event{Body: body}, Seq: seq + 1})
		l.delivered++
	}
	return nil
}

func (l *largeEvents) Park(ctx context.Context, _ *clerk.Event, _ eventlog.Death) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestLargeEventsWaitInTheLog while a batch is in work: the next one gathers up to its limit
// in bytes, and no more than a few events are taken beyond it.
func TestLargeEventsWaitInTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &largeEvents{}
		p := New(Options{Log: log, Batch: 500, Apply: func(context.Context, []store.Entry) ([]store.Outcome, error) {
			panic("none of them can be applied")
		}})
		p.Start()
		synctest.Wait()
		require.Equal(t, 1+maxBatchBytes>>20+ready, log.delivered)
		p.stop()
		p.cut()
		p.Wait()
	})
}
