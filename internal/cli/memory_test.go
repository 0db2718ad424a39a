package cli

import (
	"errors"
	"log/slog"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/stretchr/testify/require"
)

// TestMemoryLimit follows the cgroup's, unless GOMEMLIMIT is set. Not parallel: the limit is
// that of the process.
func TestMemoryLimit(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	limitMemory(memlimit.Limit(500<<20), logger)
	require.Equal(t, int64(400<<20), debug.SetMemoryLimit(-1))
	limitMemory(func() (uint64, error) { return 0, errors.New("no cgroup") }, logger)
	require.Equal(t, int64(400<<20), debug.SetMemoryLimit(-1), "it stays as it is")
	t.Setenv("GOMEMLIMIT", "300MiB")
	limitMemory(memlimit.Limit(1<<30), logger)
	require.Equal(t, int64(400<<20), debug.SetMemoryLimit(-1), "Go itself has read the environment at the start")
}
