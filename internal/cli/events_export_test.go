package cli

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWriteWhole: the file is complete, or unchanged.
func TestWriteWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "events.ndjson")
	files := func() (names []string) {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	half := func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		require.NoError(t, err)
		return errStopped
	}
	require.ErrorIs(t, writeWhole(name, half), errStopped)
	require.Empty(t, files())
	require.NoError(t, writeWhole(name, func(w io.Writer) error {
		require.Len(t, files(), 1)
		require.NotContains(t, files(), "events.ndjson")
		_, err := io.WriteString(w, "whole")
		return err
	}))
	require.ErrorIs(t, writeWhole(name, half), errStopped)
	require.Equal(t, []string{"events.ndjson"}, files())
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "whole", string(text))
	require.ErrorIs(t, writeWhole(filepath.Join(dir, "nowhere", "events.ndjson"), half), os.ErrNotExist)
}
