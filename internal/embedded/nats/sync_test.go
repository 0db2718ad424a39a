//go:build linux || darwin

package nats

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// TestNATSSyncLeavesNothing checks that Sync leaves no byte of the stream's blocks
// unsynced, also while blocks fill up and new ones begin, and after a purge deleted blocks or rewrote one.
func TestNATSSyncLeavesNothing(t *testing.T) {
	t.Parallel()
	n := startNATS(t, Options{Dir: t.TempDir()})
	_, js := connectNATS(t, n)
	stream, err := js.CreateStream(t.Context(), natsStream)
	require.NoError(t, err)
	require.NoError(t, n.Sync(natsStream.Name))
	files := n.streams[natsStream.Name]
	synced := map[string]int64{} // size of each block when it was last synced
	files.testOnlySyncing = func(block string) {
		if info, err := os.Stat(block); err == nil {
			synced[block] = info.Size()
		}
	}
	requireSynced := func() {
		t.Helper()
		require.NoError(t, n.Sync(natsStream.Name))
		blocks, err := filepath.Glob(filepath.Join(files.dir, "msgs", "*.blk"))
		require.NoError(t, err)
		require.NotEmpty(t, blocks, "the blocks are not where they were")
		for _, block := range blocks {
			info, err := os.Stat(block)
			require.NoError(t, err)
			require.Equal(t, info.Size(), synced[block], block)
		}
	}
	body := make([]byte, 64<<10)
	publish := func(count int) {
		t.Helper()
		for range count {
			_, err := js.Publish(t.Context(), natsSubject, body)
			require.NoError(t, err)
		}
	}

	started := time.Now()
	for range 30 { // 8 MB fill a block, so that some begin between two syncs
		publish(20)
		requireSynced()
	}
	require.Greater(t, files.last, 3, "no block was filled")
	require.Less(t, time.Since(started), time.Minute)

	// What is left of a block that is not the last is written into a new file.
	require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(2*(8<<20)/(64<<10)-10)))
	publish(1)
	requireSynced()
	require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeKeep(1)))
	publish(1)
	requireSynced()
	require.NoError(t, stream.Purge(t.Context()))
	publish(200)
	requireSynced()
}
