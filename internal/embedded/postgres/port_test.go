//go:build linux || darwin

package postgres

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPostgresWantedPort(t *testing.T) {
	t.Parallel()
	o := testOptions(newDir(t))
	first := start(t, o)
	remember(t, first.URL("postgres"), "kept")
	o.Port = first.Port()
	require.Equal(t, strconv.Itoa(o.Port), query(t, first.URL("postgres"), "show port"))
	require.NoError(t, first.Stop(t.Context()))

	second := start(t, o)
	require.Equal(t, first.URL("postgres"), second.URL("postgres"))
	require.Equal(t, "kept", recall(t, second.URL("postgres")))
	require.NoError(t, second.Stop(t.Context()))

	taken, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", o.Port))
	require.NoError(t, err)
	defer taken.Close()
	third := start(t, o)
	require.NotEqual(t, o.Port, third.Port())
	require.Equal(t, "kept", recall(t, third.URL("postgres")))
}

// A killed server can outlive its parent for a moment, and hold its port.
func TestPostgresWantedPortAfterAKill(t *testing.T) {
	t.Parallel()
	o := durable(newDir(t))
	parent := exec.Command(os.Args[0])
	_, first, stop := startParent(t, parent, o.Dir)
	remember(t, first, "kept")
	address, err := url.Parse(first)
	require.NoError(t, err)
	o.Port, err = strconv.Atoi(address.Port())
	require.NoError(t, err)
	require.NoError(t, parent.Process.Kill())
	stop()

	again := start(t, o)
	require.Equal(t, first, again.URL("postgres"))
	require.Equal(t, "kept", recall(t, first))
}
