package eventlog_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
)

// childDir is the environment variable that makes this test binary a server on the
// folder that it names.
const childDir = "CLERKSYNC_TEST_CHILD_DIR"

// serveChild runs a server until its input ends.
func serveChild(dir string) error {
	n, err := embeddednats.Start(context.Background(), embeddednats.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer n.Stop()
	fmt.Println(n.URL())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// child is a server in another process.
type child struct {
	url  string
	kill func() // waits for its end
}

func startChild(t *testing.T, dir string) child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = endsWithUs
	_, err := cmd.StdinPipe() // so that it ends with this process
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	started, ended := make(chan error, 1), make(chan struct{})
	killed := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // see startOldServer
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			<-killed
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	require.NoError(t, <-started)
	c := child{kill: sync.OnceFunc(func() {
		close(killed)
		<-ended
	})}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	c.url = strings.TrimSpace(line)
	return c
}

func (c child) connect(t *testing.T) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(c.url)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	return nc
}
