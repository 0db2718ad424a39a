package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThePageWithTheLinkIsPrivate, also where another page was readable.
func TestThePageWithTheLinkIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	for _, code := range []string{"FIRST", "SECOND"} {
		page, err := leadTo("http://127.0.0.1:8081/login/link#"+code, dir)
		require.NoError(t, err)
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		require.Contains(t, string(text), `content="0; url=http://127.0.0.1:8081/login/link#`+code+`">`)
		info, err := os.Stat(page)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		require.NoError(t, os.Chmod(page, 0o644))
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

// TestNoBrowserOverSSH: it would open on the screen of the machine, not before the person.
func TestNoBrowserOverSSH(t *testing.T) {
	t.Setenv("DISPLAY", ":0")
	t.Setenv("SSH_CONNECTION", "192.0.2.1 40000 192.0.2.2 22")
	require.Empty(t, desktopOpener())
	t.Setenv("SSH_CONNECTION", "")
	require.Equal(t, os.Geteuid() != 0, desktopOpener() != "", "nor for root")
}
