package cli

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressIsForTerminals(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	bar := (&local{}).progress(&session{stderr: &stderr}, 10, "replayed")
	for n := range uint64(11) {
		bar.set(n)
	}
	bar.finish()
	bar.finish()
	require.Empty(t, stderr.String())
}

func TestProgressOfOtherThings(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	bar := newProgress(&stderr, "users", 10, "read")
	bar.set(5)
	bar.finish()
	require.Contains(t, stderr.String(), "users/")
}

// TestProgressWithoutATerminal: a long command prints a line each minute. Time is that of
// synctest: nothing waits.
func TestProgressWithoutATerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		lines := 0
		stop := (&local{}).progress(&session{stderr: &stderr}, 0, "read").followLong(
			func() string { lines++; return fmt.Sprintf("line %d", lines) },
			func() (uint64, uint64) { return 0, 0 })
		time.Sleep(150 * time.Second)
		stop()
		time.Sleep(time.Hour)
		require.Equal(t, "line 1\nline 2\n", stderr.String())
	})
}
