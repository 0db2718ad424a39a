package eventlog_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// TestScanHoldsFewOfTheLargeEvents: 100 MiB go through a process that has room for a
// quarter of them. Not parallel: the memory of the process is one. The server, which
// remembers what it wrote, is another process.
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
	// Two subjects are two readers; what the one has sent ahead waits for the other.
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
	require.Less(t, most-min(before, most), uint64(2*(16+8)<<20), "what two readers are sent ahead, and some")
}
