package app_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/app"
)

// TestDataFolderIsForOneProcess: the error of a second process names the holder. After a
// kill -9 of the holder the folder is free, and FindRunning reports it gone.
func TestDataFolderIsForOneProcess(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdVariable+"="+dir)
	holder.Stderr = os.Stderr
	_, err := holder.StdinPipe()
	require.NoError(t, err)
	stdout, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)

	running, err := app.FindRunning(dir)
	require.NoError(t, err)
	require.Equal(t, holder.Process.Pid, running.PID)
	require.Equal(t, "serve", running.Command)
	_, err = app.OpenDataDir(dir)
	require.ErrorIs(t, err, app.ErrInUse)
	require.EqualError(t, err, fmt.Sprintf("data folder in use: clerksync serve is running on %s as process %d, "+
		"at http://127.0.0.1:1/api/webhooks/clerk; stop it, or name another CLERKSYNC_DATA_DIR", dir, holder.Process.Pid))

	require.NoError(t, holder.Process.Kill())
	var killed *exec.ExitError
	require.True(t, errors.As(holder.Wait(), &killed))
	_, err = app.FindRunning(dir)
	require.ErrorIs(t, err, app.ErrNotRunning)
	require.EqualError(t, err, fmt.Sprintf("not running: clerksync serve on %s (process %d) is gone", dir, holder.Process.Pid))

	d, err := app.OpenDataDir(dir)
	require.NoError(t, err)
	_, err = app.FindRunning(dir)
	require.ErrorIs(t, err, app.ErrNotRunning, "what the killed one said does not hold any more")
	require.NoError(t, d.Close())
}

// TestAnnounce: the announcement is found while the process runs, and readable by its
// owner only.
func TestAnnounce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	_, err := app.FindRunning(dir)
	require.ErrorIs(t, err, app.ErrNotRunning)
	require.EqualError(t, err, "not running: no clerksync uses the data folder "+dir)

	d, err := app.OpenDataDir(dir)
	require.NoError(t, err)
	_, err = app.OpenDataDir(dir)
	require.EqualError(t, err, "data folder in use: another clerksync is starting or stopping on "+dir+"; name another CLERKSYNC_DATA_DIR to run both")
	want := app.Running{Command: "dev", Endpoint: "http://e", SigningSecret: "s", AdminURL: "http://a", AdminToken: "t", DatabaseURL: "postgres://", Schema: "clerk", NATSURL: "nats://n"}
	require.NoError(t, d.Announce(want))
	got, err := app.FindRunning(dir)
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), got.PID)
	require.False(t, got.StartedAt.IsZero())
	want.PID, want.StartedAt = got.PID, got.StartedAt
	require.Equal(t, want, *got)
	info, err := os.Stat(filepath.Join(dir, "running.json"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it has secrets in it")

	require.NoError(t, d.Close())
	_, err = app.FindRunning(dir)
	require.ErrorIs(t, err, app.ErrNotRunning)
}

// TestKeep: the file is written once.
func TestKeep(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for _, made := range []string{"first", "second"} {
		d, err := app.OpenDataDir(dir)
		require.NoError(t, err)
		value, err := d.Keep("thing", func() (string, error) { return made, nil })
		require.NoError(t, err)
		require.Equal(t, "first", value)
		require.NoError(t, d.Close())
	}
	info, err := os.Stat(filepath.Join(dir, "thing"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

// TestDataFolderThatCannotBeMade: the error names the variable.
func TestDataFolderThatCannotBeMade(t *testing.T) {
	t.Parallel()
	_, err := app.OpenDataDir(filepath.Join(t.TempDir(), "missing", "data"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "CLERKSYNC_DATA_DIR names another")
}
