package replay_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// draft is one replay that is going to be.
type draft struct {
	filter          eventlog.Filter
	reapply         bool
	appliers, batch int
	dies            int // with that commit, or never when there are fewer
}

func drawDraft(r *rapid.T, first uint64) draft {
	d := draft{
		filter:   eventlog.Filter{From: first},
		reapply:  rapid.Bool().Draw(r, "reapply"),
		appliers: rapid.IntRange(1, 3).Draw(r, "appliers"),
		batch:    rapid.IntRange(1, 12).Draw(r, "batch"),
		dies:     rapid.IntRange(1, 12).Draw(r, "dies"),
	}
	switch rapid.IntRange(0, 3).Draw(r, "filter") {
	case 0:
		d.filter.User = "user_0"
	case 1:
		d.filter.Types = []string{rapid.SampledFrom([]string{"user.*", "*.deleted", "organization*.*"}).Draw(r, "types")}
	case 2:
		d.filter.Limit = rapid.IntRange(1, 20).Draw(r, "limit")
	}
	return d
}

// run replays until the end or the death.
func (w *world) run(d draft) error {
	scan, err := w.Log.Events(context.Background(), d.filter, false)
	if err != nil {
		return err
	}
	defer scan.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	apply := w.Store.Apply
	if d.reapply {
		apply = w.Store.Reapply
	}
	var commits atomic.Int64
	r := replay.NewEvents(scan, w.Log, replay.Options{
		Appliers: d.appliers, Batch: d.batch,
		Apply: func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
			outcomes, err := apply(ctx, entries)
			if err == nil && commits.Add(1) == int64(d.dies) {
				cancel()
			}
			return outcomes, err
		},
	})
	if err := r.Run(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// TestReplayBesideLiveTraffic: while events arrive and the projector is at work,
// replays of any part of the log run, two at once, and die: the rows are those of
// the history in order.
func TestReplayBesideLiveTraffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	expected := testkit.Store(t)
	p := projector.New(projector.Options{Log: w.Log, Apply: w.Store.Apply, Appliers: 2, Batch: 5})
	p.Start()
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
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
		testkit.Truncate(t, w.Store)
		state, err := w.Log.State(context.Background())
		require.NoError(r, err)
		drafts := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) draft { return drawDraft(r, state.Last+1) }), 2, 6).Draw(r, "replays")
		arrivals := history
		if len(history) > 0 {
			arrivals = rapid.Permutation(history).Draw(r, "arrivals")
		}

		var all sync.WaitGroup
		errs := make(chan error, 3)
		all.Go(func() {
			for _, e := range arrivals {
				if _, err := w.Log.Append(context.Background(), e); err != nil {
					errs <- err
					return
				}
			}
		})
		for half := range 2 {
			all.Go(func() {
				for i := half; i < len(drafts); i += 2 {
					if err := w.run(drafts[i]); err != nil {
						errs <- err
						return
					}
				}
			})
		}
		all.Wait()
		close(errs)
		for err := range errs {
			r.Fatalf("%v", err)
		}
		testkit.Eventually(t, "the projector is done", func() (bool, any) {
			b, err := w.Log.Backlog(context.Background())
			return err == nil && b.Pending == 0, fmt.Sprint(b, err)
		})
		if diff := cmp.Diff(want, testkit.Tables(t, w.Store)); diff != "" {
			r.Fatalf("rows differ from those of the history in order (-in order +with replays):\n%s", diff)
		}
	})
}

// TestReplayIntoEmptyTables makes the rows of the history, whatever is in the log
// twice.
func TestReplayIntoEmptyTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	expected := testkit.Store(t)
	var history []*clerk.Event
	for seed := range 200 { // the longest of some
		if h := testkit.Histories().Example(seed); len(h) > len(history) {
			history = h
		}
	}
	w.Append(history...)
	began := time.Now()
	for range 3 {
		w.replay(eventlog.Filter{})
		require.Empty(t, cmp.Diff(testkit.InOrder(t, expected, history), testkit.Tables(t, w.Store)))
		testkit.Truncate(t, w.Store)
	}
	require.Less(t, time.Since(began), testkit.Patience)
}
