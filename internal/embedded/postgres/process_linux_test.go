package postgres

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPostgresServerDoesNotSeeTheEnvironment(t *testing.T) {
	t.Setenv("CLERK_SECRET_KEY", "sk_test_hidden")
	p := start(t, testOptions(newDir(t)))
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.process.pid()))
	require.NoError(t, err)
	require.NotContains(t, string(env), "sk_test_hidden")
}

// On macOS, a later start stops the child instead.
func TestPostgresEndsWithItsParent(t *testing.T) {
	t.Parallel()
	o := durable(newDir(t))
	parent := exec.Command(os.Args[0])
	pid, url, stop := startParent(t, parent, o.Dir)
	remember(t, url, "kept")
	require.NoError(t, parent.Process.Kill())
	stop()
	begun := time.Now()
	again := start(t, o)
	require.Less(t, time.Since(begun), 10*time.Second)
	awaitGone(t, pid)
	require.Equal(t, "kept", recall(t, again.URL("postgres")))
	sockets, err := filepath.Glob(filepath.Join(os.TempDir(), "clerksync-pg-"+hashOf(o.Dir)+"*"))
	require.NoError(t, err)
	require.Len(t, sockets, 1, "the folder of the killed server is removed")
}
