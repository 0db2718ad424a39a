//go:build unix

package app_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/app"
)

// TestDataFolderThatOthersMayWriteIsRefused: with the command that closes it, and before
// a file is made in it. What others may only read is taken.
func TestDataFolderThatOthersMayWriteIsRefused(t *testing.T) {
	t.Parallel()
	for mode, text := range map[os.FileMode]string{
		0o700: "", 0o711: "", 0o755: "",
		0o775: "mode 0775", 0o757: "mode 0757", 0o720: "mode 0720", 0o702: "mode 0702", 0o777 | os.ModeSticky: "mode 0777",
	} {
		dir := filepath.Join(t.TempDir(), "data")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chmod(dir, mode))
		d, err := app.OpenDataDir(dir)
		if text == "" {
			require.NoError(t, err, mode)
			require.NoError(t, d.Close())
			continue
		}
		require.ErrorIs(t, err, app.ErrNotOurs)
		require.EqualError(t, err, "data folder is not safe: other users may write into "+dir+" ("+text+"); chmod go-w "+dir+
			", or name a folder inside it as CLERKSYNC_DATA_DIR, which is then made")
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)

		require.NoError(t, os.Chmod(dir, mode&^0o022))
		d, err = app.OpenDataDir(dir)
		require.NoError(t, err, "after the fix")
		require.NoError(t, d.Close())

		require.NoError(t, os.Chmod(dir, mode))
		d, err = app.OpenDataDir(filepath.Join(dir, "inside"))
		require.NoError(t, err, "a folder inside it")
		require.NoError(t, d.Close())
	}
}

// TestDataFolderOfAnotherUserIsRefused, except root's.
func TestDataFolderOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	owner := os.Geteuid()
	if owner == 0 {
		require.NoError(t, app.CheckOurs(dir, 4712), "root's")
		owner = 4711
		require.NoError(t, os.Chown(dir, owner, -1))
	}
	require.NoError(t, app.CheckOurs(dir, owner))
	for _, us := range []int{owner + 1, 0} {
		require.ErrorIs(t, app.CheckOurs(dir, us), app.ErrNotOurs)
	}
	require.ErrorContains(t, app.CheckOurs(dir, owner+1), "run it as that user, or name another CLERKSYNC_DATA_DIR")
}
