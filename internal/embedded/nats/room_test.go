package nats

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/disk"
)

// TestRoom refuses with too little room, and recovers by itself.
func TestRoom(t *testing.T) {
	t.Parallel()
	var free uint64
	checks := 0
	r := &room{dir: "/data", free: func(dir string) (uint64, bool) {
		require.Equal(t, "/data", dir)
		checks++
		return free, true
	}}
	free = Reserve
	require.NoError(t, r.check())
	free = Reserve - 1
	require.NoError(t, r.check(), "a check is valid for a while")
	require.Equal(t, 1, checks)
	r.age()
	require.EqualError(t, r.check(), "the disk of /data has 63 MB free, at least 64 are kept: make room, or set CLERKSYNC_LOG_MAX_BYTES")
	require.Error(t, r.check())
	require.Equal(t, 2, checks)
	free = Reserve
	r.age()
	require.NoError(t, r.check())
}

// age makes the last check old.
func (r *room) age() {
	last := *r.last.Load()
	last.at = last.at.Add(-time.Hour)
	r.last.Store(&last)
}

// TestRoomOfARealDisk reads bytes, and not blocks.
func TestRoomOfARealDisk(t *testing.T) {
	t.Parallel()
	free, ok := disk.Free(t.TempDir())
	require.True(t, ok)
	require.Greater(t, free, uint64(1<<20))
}
