package eventlog_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestErasedEventsStayErasedWhenTheServerIsKilled right after the acknowledgement.
func TestErasedEventsStayErasedWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server := startChild(t, dir)
	l := open(t, server.connect(t), eventlog.Options{})
	const n = 140 // more than one block
	erased := map[int]bool{}
	for i := range n {
		appendAll(t, l, []*clerk.Event{marked(i)})
	}
	for _, i := range []int{3, 4, 100, n - 3, n - 1} {
		require.NoError(t, l.Erase(t.Context(), uint64(i+1)))
		erased[i] = true
	}
	server.kill()
	l.Close()
	for range 2 { // and stopped cleanly in between
		n2 := startIn(t, dir)
		l := open(t, testkit.Connect(t, n2), eventlog.Options{})
		requireMarked(t, l, n, erased)
		requireErased(t, dir, erased)
		n2.Stop()
	}
}
