package clustertest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/cli"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestMain runs this test binary as clerksync when it is called by that name, and as a NATS
// server when nodeVariable is set. Both end with the test process, which has the other end of
// their input.
func TestMain(m *testing.M) {
	if options := os.Getenv(nodeVariable); options != "" {
		if err := serveNode(options); err != nil {
			fmt.Fprintln(os.Stderr, "node:", err)
			os.Exit(1)
		}
		return
	}
	if filepath.Base(os.Args[0]) == "clerksync" {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(3)
		}()
		// As in cmd/clerksync.
		ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, release)
		os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	testkit.Main(m)
}

const secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// await waits until a condition holds or ctx ends, which bounds a test as a whole: on a busy
// machine one step may take long.
func await(ctx context.Context, t testing.TB, what string, condition func() (ok bool, state any)) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, state := condition()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the time of the test ended before this: %s; last seen: %v", what, state)
		}
	}
}

// deployment starts processes of clerksync with the same settings.
type deployment struct {
	t       testing.TB
	program string
	env     []string
}

func newDeployment(t testing.TB, natsURL, databaseURL string, env ...string) *deployment {
	t.Helper()
	executable, err := os.Executable()
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), "clerksync")
	require.NoError(t, os.Symlink(executable, program))
	return &deployment{t, program, append([]string{
		"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0", "CLERK_WEBHOOK_SIGNING_SECRET=" + secret,
		"CLERKSYNC_ADDR=127.0.0.1:0", "CLERKSYNC_ADMIN_ADDR=127.0.0.1:0", "NATS_URL=" + natsURL, "DATABASE_URL=" + databaseURL,
	}, env...)}
}

// process is a running clerksync.
type process struct {
	cmd             *exec.Cmd
	out             *testkit.Output
	ended           chan struct{}
	endpoint, admin string // of serve
}

// start starts a command.
func (d *deployment) start(args ...string) *process {
	d.t.Helper()
	p := &process{cmd: exec.Command(d.program, args...), out: &testkit.Output{}, ended: make(chan struct{})}
	p.cmd.Args[0] = "clerksync"
	p.cmd.Env = d.env
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	_, err := p.cmd.StdinPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, p.cmd.Start())
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	d.t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		if d.t.Failed() {
			text := p.out.String()
			d.t.Logf("%s, the end of its log:\n%s", strings.Join(args, " "), text[max(0, len(text)-3000):])
		}
	})
	return p
}

var atWork = regexp.MustCompile(`clerksync is at work".*?(?: endpoint=(\S+))?(?: admin=(\S+))? pid=`)

// serve starts a process with a role and waits until it is at work.
func (d *deployment) serve(ctx context.Context, role string) *process {
	d.t.Helper()
	p := d.start("serve", "--role", role)
	await(ctx, d.t, role+" is at work", func() (bool, any) {
		found := atWork.FindStringSubmatch(p.out.String())
		if found != nil {
			p.endpoint, p.admin = found[1], found[2]
		}
		return found != nil, p.out.String()
	})
	return p
}

// terminate ends a process with SIGTERM and returns how long that took.
func (p *process) terminate(ctx context.Context, t testing.TB) time.Duration {
	t.Helper()
	began := time.Now()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.succeeds(ctx, t)
	return time.Since(began)
}

// succeeds waits for the end of a process, which has to be status 0.
func (p *process) succeeds(ctx context.Context, t testing.TB) {
	t.Helper()
	select {
	case <-p.ended:
	case <-ctx.Done():
		t.Fatalf("it does not end: %s", p.out)
	}
	require.Zero(t, p.cmd.ProcessState.ExitCode(), "%s", p.out)
}
