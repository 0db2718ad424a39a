//go:build linux || darwin

package nats

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// blocks are the files of a stream without a server.
type blocks struct {
	*streamFiles
	t *testing.T
}

// newBlocks makes one block, in a folder that was last changed long ago.
func newBlocks(t *testing.T) *blocks {
	b := &blocks{&streamFiles{dir: filepath.Join(t.TempDir(), "jetstream", "$G", "streams", "S")}, t}
	require.NoError(t, os.MkdirAll(filepath.Join(b.dir, "msgs"), 0o700))
	b.write(1, time.Now().Add(-time.Hour))
	require.Equal(t, []int{1}, b.sync(nil))
	require.True(t, b.certain)
	return b
}

// write puts a new file in the place of a block. changed is the modification time that it and
// the folder get.
func (b *blocks) write(n int, changed time.Time) {
	tmp := b.block(n) + ".tmp"
	require.NoError(b.t, os.WriteFile(tmp, []byte("messages"), 0o600))
	require.NoError(b.t, os.Rename(tmp, b.block(n)))
	require.NoError(b.t, os.Chtimes(b.block(n), changed, changed))
	require.NoError(b.t, os.Chtimes(filepath.Join(b.dir, "msgs"), changed, changed))
}

// sync returns the blocks that it syncs. meanwhile, if set, is called once, before the first.
func (b *blocks) sync(meanwhile func()) (synced []int) {
	b.testOnlySyncing = func(block string) {
		if meanwhile != nil {
			meanwhile()
			meanwhile = nil
		}
		for n := range 10 {
			if b.block(n) == block {
				synced = append(synced, n)
			}
		}
	}
	require.NoError(b.t, b.streamFiles.sync())
	slices.Sort(synced)
	return slices.Compact(synced)
}

// TestSlowDiskHidesNoBlock: two blocks begin within a tick of the folder's clock, which is
// read in between, and then the disk takes so long that the tick is over.
func TestSlowDiskHidesNoBlock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBlocks(t)
		tick := time.Now().Add(10 * time.Millisecond)
		b.write(2, tick)
		require.Equal(t, []int{1, 2}, b.sync(func() {
			b.write(3, tick)
			time.Sleep(time.Minute)
		}))
		require.False(t, b.certain)
		require.Equal(t, []int{2, 3}, b.sync(nil))
	})
}

// TestNextBlockIsFoundWithoutTheTime: the folder's time can be another machine's, whose clock
// is behind ours, or that of a clock that stands still for a while.
func TestNextBlockIsFoundWithoutTheTime(t *testing.T) {
	t.Parallel()
	b := newBlocks(t)
	b.write(2, b.modified)
	require.Equal(t, []int{1, 2}, b.sync(nil))
	require.Equal(t, []int{2}, b.sync(nil))
}

// TestWholeSecondsSettleLate: the clock of the file system ticks, so it can be in a second
// that is over by ours.
func TestWholeSecondsSettleLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		modified := time.Now().Truncate(time.Second)
		time.Sleep(time.Until(modified) + time.Second + 10*time.Millisecond)
		require.False(t, settled(modified))
		time.Sleep(50 * time.Millisecond)
		require.True(t, settled(modified))
	})
}

// TestFirstBlockIsReplacedMeanwhile: what a purge puts in the place of a block that is no
// longer the last is synced, though the disk was at the next block just then.
func TestFirstBlockIsReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBlocks(t)
	b.write(2, time.Now().Add(-time.Minute))
	replaced := false
	var synced os.FileInfo // the first block
	b.testOnlySyncing = func(block string) {
		switch {
		case block == b.block(1):
			synced, _ = os.Stat(block)
		case !replaced:
			b.write(1, time.Now())
			long := time.Now().Add(-time.Minute) // ago
			require.NoError(t, os.Chtimes(b.block(1), long, long))
			replaced = true
		}
	}
	require.NoError(t, b.streamFiles.sync())
	require.NoError(t, b.streamFiles.sync())
	require.True(t, replaced)
	info, err := os.Stat(b.block(1))
	require.NoError(t, err)
	require.True(t, os.SameFile(info, synced))
}
