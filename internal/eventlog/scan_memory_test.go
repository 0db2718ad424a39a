package eventlog_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// TestScanHoldsFewOfTheLargeEvents reads 100 MiB and holds less than half of them. It is
// not parallel, since it measures the heap. The server, which caches what it wrote, is
// another process.
func TestScanHoldsFewOfTheLargeEvents(t *testing.T) {
	const n, size = 100, 1 << 20
	l := open(t, startChild(t, t.TempDir()).connect(t), eventlog.Options{})
	body := bytes.Repeat([]byte{'x'}, size)
	for i := range n {
		e := event(i)
		e.Body = append([]byte(fmt.Sprintf("%06d", i)), body[6:]...)
		_, err := l.Append(t.Context(), e)
		require.NoError(t, err)
	}
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	// Two subjects are two cursors: what one is sent ahead waits for the other.
	s := scan(t, l, eventlog.Filter{Types: []string{"user.*", "*.created"}})
	var most uint64
	for i := range n {
		m, err := s.Next(t.Context())
		require.NoError(t, err)
		require.Len(t, m.Event.Body, size)
		require.Equal(t, fmt.Sprintf("%06dx", i), string(m.Event.Body[:7]))
		if i%5 == 0 {
			most = max(most, heap())
		}
	}
	require.Empty(t, readAll(t, s))
	require.Less(t, most-min(before, most), uint64(2*(16+8)<<20), "what two cursors are sent ahead, and some")
}
