package projector

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

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

// timedEvents is a log of events that arrive at their times.
type timedEvents struct {
	Log
	at []time.Duration
}

func (l timedEvents) Consume(_ context.Context, deliver func(*eventlog.Message)) error {
	began := time.Now()
	for i, at := range l.at {
		time.Sleep(at - time.Since(began))
		deliver(&eventlog.Message{Event: user(i), Seq: uint64(i) + 1})
	}
	return nil
}

// TestStreamSharesTransactions: a lone event is applied at once, and what comes soon after
// gathers for a moment.
func TestStreamSharesTransactions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type batch struct {
			Began  time.Duration
			Events int
		}
		began := time.Now()
		var got []batch
		p := New(Options{
			Log: timedEvents{at: []time.Duration{
				0, spacing - linger, 2*spacing - 2*linger, 2*spacing - linger,
				3*spacing - linger/2, 3 * spacing, // a group
				20 * spacing, 40 * spacing,
			}},
			Batch: 500, Appliers: 4,
			Apply: func(_ context.Context, entries []store.Entry) ([]store.Outcome, error) {
				got = append(got, batch{time.Since(began), len(entries)})
				time.Sleep(spacing / 2)
				return make([]store.Outcome, len(entries)), nil
			},
		})
		p.Start()
		p.Wait()
		require.Equal(t, []batch{{0, 1}, {spacing, 1}, {2 * spacing, 2}, {3*spacing + linger/2, 2}, {20 * spacing, 1}, {40 * spacing, 1}}, got)
	})
}
