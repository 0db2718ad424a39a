package cli

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// piped is an import from a pipe that the test writes to.
type piped struct {
	*testing.T
	log            *eventlog.Log
	in             *io.PipeWriter
	status         chan int
	stdout, stderr bytes.Buffer
}

func importPipe(t *testing.T) *piped {
	t.Helper()
	server := testkit.NATS(t)
	p := &piped{T: t, log: testkit.OpenLog(t, testkit.Connect(t, server)), status: make(chan int, 1)}
	var out *io.PipeReader
	out, p.in = io.Pipe()
	t.Cleanup(func() { p.in.Close() })
	go func() {
		defer out.Close() // as the end of a process does
		p.status <- Main(t.Context(), []string{"events", "import", "--trust", "--nats-url", server.URL(), "-"}, out, &p.stdout, &p.stderr)
	}()
	return p
}

// lineOf returns a line of an export, with a body of about a size.
func lineOf(t *testing.T, i, size int) []byte {
	t.Helper()
	id := fmt.Sprintf("user_%d", i)
	e := testkit.Event("msg_"+id, "user.created", testkit.Base, testkit.UserData(id, id+"@example.com", "", testkit.Base, testkit.Base))
	e.Body = append(e.Body, strings.Repeat(" ", size)...)
	var line bytes.Buffer
	w, err := archive.NewWriter(&line, false)
	require.NoError(t, err)
	require.NoError(t, w.Write(&archive.Record{Seq: uint64(i + 1), StoredAt: e.ReceivedAt, Event: e}))
	require.NoError(t, w.Close())
	return line.Bytes()
}

// write returns whether the import still reads.
func (p *piped) write(line []byte) bool {
	_, err := p.in.Write(line)
	return err == nil
}

func (p *piped) waitStored(n uint64) {
	p.Helper()
	testkit.Eventually(p, "the events are stored", func() (bool, any) {
		state, err := p.log.State(p.Context())
		return err == nil && state.Events == n, fmt.Sprint(state, err)
	})
}

// TestImportOfAPipeStoresAsItReads, and names a broken line before the pipe ends.
func TestImportOfAPipeStoresAsItReads(t *testing.T) {
	t.Parallel()
	p := importPipe(t)
	for i := range 200 { // more than the reader reads ahead
		require.True(t, p.write(lineOf(t, i, 1000)))
	}
	testkit.Eventually(t, "events are stored while the pipe is open", func() (bool, any) {
		state, err := p.log.State(t.Context())
		return err == nil && state.Events > 100, fmt.Sprint(state, err)
	})
	require.True(t, p.write([]byte("{\n")))
	for p.write(lineOf(t, 999, 1000)) {
	}
	require.Equal(t, 1, <-p.status)
	require.Empty(t, p.stdout.String())
	require.Equal(t, "clerksync: standard input: line 201: not JSON: fault at byte 1: 200 events were stored, 0 were there already\n"+
		"  → run the import again for the rest\n", p.stderr.String())
	p.waitStored(200)
}

// TestImportOfALongPipeHoldsLittle of it, also of a line that never ends and is small
// before it is unpacked. It is not parallel, since it measures the heap.
func TestImportOfALongPipeHoldsLittle(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	p := importPipe(t)
	var most uint64
	const size = 1 << 19
	line := lineOf(t, 0, size)
	before := heap()
	for i := range 1000 { // 500 MB, of which the server keeps one event
		require.True(t, p.write(line))
		if i%50 == 0 {
			most = max(most, heap())
		}
	}
	require.Less(t, most-min(before, most), uint64(100<<20), "what may be in flight, the connection's buffers, and the server's cache")
	packed, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	p.in.Close()
	require.Equal(t, 0, <-p.status, p.stderr.String())
	require.Equal(t, "stored 1 events, 999 were there already\n", p.stdout.String())

	p = importPipe(t)
	bomb := packed.EncodeAll(append(lineOf(t, 0, 10), bytes.Repeat([]byte(" "), 64<<20)...), nil)
	require.Less(t, len(bomb), 1<<20)
	p.write(bomb)
	require.Equal(t, 1, <-p.status)
	require.Equal(t, "clerksync: standard input: line 2: longer than 8 MiB: 1 events were stored, 0 were there already\n"+
		"  → run the import again for the rest\n", p.stderr.String())
}
