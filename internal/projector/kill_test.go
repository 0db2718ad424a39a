package projector

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestKilledBetweenCommitAndAck: whenever a projector dies after a commit and before
// the acks, its successor makes the same rows as the history in order.
func TestKilledBetweenCommitAndAck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	expected := testkit.Store(t)
	round := 0
	rapid.Check(t, func(r *rapid.T) {
		// One log for all histories: the ids of their events have to differ.
		round++
		var history []*clerk.Event
		for _, e := range testkit.Histories().Draw(r, "history") {
			c := *e
			c.ID = fmt.Sprintf("%s_%d", e.ID, round)
			history = append(history, &c)
		}
		want := testkit.InOrder(t, expected, history)
		testkit.Truncate(t, w.store)
		open := func() *eventlog.Log {
			log, err := eventlog.Open(context.Background(), w.nc, eventlog.Options{Exclusive: true})
			require.NoError(r, err)
			_, err = log.TakeBack(context.Background())
			require.NoError(r, err)
			return log
		}
		log := open()
		defer func() { log.Close() }()
		if len(history) > 0 {
			w.append(rapid.Permutation(history).Draw(r, "arrivals")...)
		}

		for kills := rapid.IntRange(0, 3).Draw(r, "kills"); kills >= 0; kills-- {
			last := kills == 0
			var lives atomic.Int64 // commits until the death
			lives.Store(rapid.Int64Range(1, 4).Draw(r, "commits"))
			died := make(chan struct{}, 1000)
			p := New(Options{
				Log: log, Apply: w.store.Apply, Registry: prometheus.NewRegistry(),
				Appliers: rapid.IntRange(1, 3).Draw(r, "appliers"), Batch: rapid.IntRange(1, 12).Draw(r, "batch"),
				testOnlyCommitted: func() bool {
					if last || lives.Add(-1) > 0 {
						return true
					}
					died <- struct{}{}
					return false
				},
			})
			p.Start()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if last {
				testkit.Eventually(t, "all is acknowledged", w.drained)
			} else {
				for alive := true; alive; {
					select {
					case <-died:
						alive = false
					case <-time.After(time.Millisecond):
						done, _ := w.drained()
						alive = !done
					}
				}
				if rapid.Bool().Draw(r, "at once") {
					cancel() // not even batches in flight are finished
				}
			}
			if err := p.Stop(ctx); err != nil && last {
				r.Fatalf("stop: %v", err)
			}
			cancel()
			log.Close()
			log = open()
		}
		if diff := cmp.Diff(want, testkit.Tables(t, w.store)); diff != "" {
			r.Fatalf("rows differ from those of the history in order (-in order +after the kills):\n%s", diff)
		}
	})
}

// TestRedeliveredEventsAreCounted: and are found to be duplicates.
func TestRedeliveredEventsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.append(userEvents(0, 5)...)
	died := make(chan struct{}, 5)
	first := w.start(func(o *Options) {
		o.testOnlyCommitted = func() bool { died <- struct{}{}; return false }
	})
	w.awaitUsers(5)
	first.stop()

	log, err := eventlog.Open(t.Context(), w.nc, eventlog.Options{Exclusive: true})
	require.NoError(t, err)
	t.Cleanup(log.Close)
	_, err = log.TakeBack(t.Context())
	require.NoError(t, err)
	r := w.start(func(o *Options) { o.Log = log })
	w.awaitDrained()
	testkit.Eventually(t, "they are counted", func() (bool, any) {
		got := r.counters("clerksync_applied_total")
		return got["duplicate"] == 5 && got["applied"] == 0, got
	})
	require.Empty(t, w.deadLetters())
}

// TestTwoProjectorsOnOneLog share the work, and make the rows of the history.
func TestTwoProjectorsOnOneLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	expected := testkit.Store(t)
	// The longest of some histories.
	var history []*clerk.Event
	for seed := range 200 {
		if h := testkit.Histories().Example(seed); len(h) > len(history) {
			history = h
		}
	}
	w.append(history...)
	second := testkit.OpenLog(t, w.nc)
	for _, log := range []*eventlog.Log{w.log, second} {
		w.start(func(o *Options) { o.Log, o.Batch = log, 7 })
	}
	w.awaitDrained()
	if diff := cmp.Diff(testkit.InOrder(t, expected, history), testkit.Tables(t, w.store)); diff != "" {
		t.Fatalf("(-in order +by two):\n%s", diff)
	}
}
