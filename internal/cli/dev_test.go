package cli

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDevChoosesItsAddresses: a default that is in use is replaced, and dev says so; an
// address that was asked for is not.
func TestDevChoosesItsAddresses(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	taken := l.Addr().String()

	addr := ""
	note, err := chooseAddr(&addr, "127.0.0.1:0", "dashboard", "CLERKSYNC_ADMIN_ADDR")
	require.NoError(t, err)
	require.Equal(t, []string{"", "127.0.0.1:0"}, []string{note, addr})

	addr = ""
	note, err = chooseAddr(&addr, taken, "dashboard", "CLERKSYNC_ADMIN_ADDR")
	require.NoError(t, err)
	require.Equal(t, taken+" is used by another program: the dashboard has a free port instead. CLERKSYNC_ADMIN_ADDR names another.", note)
	require.Equal(t, "127.0.0.1:0", addr)

	addr = taken // also if it is the default
	_, err = chooseAddr(&addr, taken, "dashboard", "CLERKSYNC_ADMIN_ADDR")
	require.EqualError(t, err, taken+", which CLERKSYNC_ADMIN_ADDR asks for, is used by another program")
	require.Equal(t, "stop that program, or name another address; without one, dev takes a free port", hintOf(err))
}
