package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestAnyOrderSameRows is the promise that all others stand on: whatever the
// order of arrival, however often, in whatever batches, over however many
// workers, the rows are those of the history applied once in order. That holds
// too when some of the history never arrives.
func TestAnyOrderSameRows(t *testing.T) {
	order := newOrderTest(t)
	rapid.Check(t, order.check)
}

// FuzzOrder is the same for the fuzzer, which finds histories by coverage.
func FuzzOrder(f *testing.F) {
	order := newOrderTest(f)
	f.Fuzz(rapid.MakeFuzz(order.check))
}

type orderTest struct {
	inOrder, shuffled *store.Store
}

func newOrderTest(tb testing.TB) *orderTest {
	return &orderTest{inOrder: testkit.Store(tb), shuffled: testkit.Store(tb)}
}

func (o *orderTest) check(t *rapid.T) {
	history := testkit.Histories().Draw(t, "history")
	if len(history) > 0 && rapid.Bool().Draw(t, "lossy") {
		history = rapid.SliceOfNDistinct(rapid.SampledFrom(history), 0, len(history), rapid.ID[*clerk.Event]).Draw(t, "arrived")
	}
	entries := make([]store.Entry, len(history))
	for i, e := range history {
		entries[i] = store.Entry{Change: testkit.Change(e), Seq: uint64(i + 1)}
	}

	testkit.Truncate(t, o.inOrder)
	for _, e := range entries {
		apply(t, o.inOrder, []store.Entry{e})
	}
	want := testkit.Tables(t, o.inOrder)

	testkit.Truncate(t, o.shuffled)
	var arrivals []store.Entry
	for _, e := range entries {
		for range rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "copies") {
			arrivals = append(arrivals, e)
		}
	}
	if len(arrivals) > 0 {
		arrivals = rapid.Permutation(arrivals).Draw(t, "arrivals")
	}
	o.applyConcurrently(t, arrivals)
	if diff := cmp.Diff(want, testkit.Tables(t, o.shuffled)); diff != "" {
		t.Fatalf("rows differ from those of the history in order (-in order +shuffled):\n%s", diff)
	}
}

// applyConcurrently cuts the arrivals into batches and gives them to workers. A
// worker that is killed between commit and acknowledgement is one that applies
// its batch again.
func (o *orderTest) applyConcurrently(t *rapid.T, arrivals []store.Entry) {
	workers := rapid.IntRange(1, 4).Draw(t, "workers")
	queues := make([][][]store.Entry, workers)
	for len(arrivals) > 0 {
		n := rapid.IntRange(1, min(len(arrivals), 10)).Draw(t, "batch")
		w := rapid.IntRange(0, workers-1).Draw(t, "worker")
		queues[w] = append(queues[w], arrivals[:n])
		if rapid.IntRange(0, 9).Draw(t, "killed") == 0 {
			again := rapid.IntRange(0, workers-1).Draw(t, "redelivered to")
			queues[again] = append(queues[again], arrivals[:n])
		}
		arrivals = arrivals[n:]
	}
	var all sync.WaitGroup
	errs := make([]error, workers)
	for w, queue := range queues {
		all.Go(func() {
			for _, batch := range queue {
				if _, err := o.shuffled.Apply(context.Background(), batch); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			// Deadlocks and unique violations are repaired by another try in the
			// projector; that there are none at all is what the order of locks is for.
			t.Fatalf("apply: %v", err)
		}
	}
}

func apply(t interface{ Fatalf(string, ...any) }, s *store.Store, entries []store.Entry) []store.Outcome {
	outcomes, err := s.Apply(context.Background(), entries)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return outcomes
}
