package lag

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestReapplyLeavesTheLags: events that are written once more, much later, were not slow.
func TestReapplyLeavesTheLags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker("first", w.store.Apply)
	w.emit(20, 0)
	before := w.await(w.meter(), "all is applied", func(r *Reading) bool {
		return r.Pending != nil && *r.Pending == 0 && r.EndToEnd != nil && r.EndToEnd.Events == 20
	})

	scan, err := w.log.Events(t.Context(), eventlog.Filter{Types: w.log.Types()}, false)
	require.NoError(t, err)
	var entries []store.Entry
	require.NoError(t, scan.Each(t.Context(), func(m *eventlog.Message) error {
		entries = append(entries, store.Entry{Change: testkit.Change(m.Event), Seq: m.Seq})
		return nil
	}))
	outcomes, err := w.store.Reapply(t.Context(), entries)
	require.NoError(t, err)
	require.Len(t, outcomes, 20)
	require.NotContains(t, outcomes, store.Duplicate)

	after := w.measure(w.meter())
	require.Equal(t, before.Queue, after.Queue)
	require.Equal(t, before.EndToEnd, after.EndToEnd)
	require.Equal(t, before.Delivery, after.Delivery)
}
