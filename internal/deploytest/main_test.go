package deploytest

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/cli"
	"github.com/clerksync/clerksync/internal/testkit"
)

const deploy = "../../deploy/"

// TestMain runs this test binary as the program, or as nats-server, when it is started by
// that name.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "clerksync":
		// As in cmd/clerksync.
		ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, release)
		os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case "nats-server":
		if err := natsServer(); err != nil {
			fmt.Fprintln(os.Stderr, "nats-server:", err)
			os.Exit(1)
		}
	default:
		testkit.Main(m)
	}
}

// natsServer does what the program of that name does.
func natsServer() error {
	nothing := func() {}
	options, err := natsserver.ConfigureOptions(flag.NewFlagSet("nats-server", flag.ContinueOnError), os.Args[1:], nothing, nothing, nothing)
	if err != nil {
		return err
	}
	s, err := natsserver.NewServer(options)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	if err := natsserver.Run(s); err != nil {
		return err
	}
	s.WaitForShutdown()
	return nil
}

// process is a program in the background.
type process struct {
	cmd    *exec.Cmd
	output testkit.Output
	ended  chan struct{}
}

// command makes a command that runs this test binary under a name, in an empty folder and
// with no other variables than these.
func command(t *testing.T, name string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program, args...)
	cmd.Args[0] = name
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}, env...)
	return cmd
}

// start starts a program and waits until it prints a text.
func start(t *testing.T, ready, name string, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: command(t, name, env, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s %s:\n%s", name, strings.Join(args, " "), p.output.String())
		}
	})
	p.await(t, ready)
	return p
}

func (p *process) await(t *testing.T, text string) {
	t.Helper()
	testkit.Eventually(t, "it prints "+text, func() (bool, any) {
		select {
		case <-p.ended:
			t.Fatalf("it ended with %s:\n%s", p.cmd.ProcessState, p.output.String())
		default:
		}
		return strings.Contains(p.output.String(), text), p.output.String()
	})
}

// stop ends the program, which is to end well.
func (p *process) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	testkit.Eventually(t, "it ends", func() (bool, any) {
		select {
		case <-p.ended:
			return true, nil
		default:
			return false, p.output.String()
		}
	})
	require.True(t, p.cmd.ProcessState.Success(), "%s\n%s", p.cmd.ProcessState, p.output.String())
}

// run runs a program to its end, which is to be good, and returns what it printed.
func run(t *testing.T, name string, env []string, args ...string) string {
	t.Helper()
	out, err := command(t, name, env, args...).CombinedOutput()
	require.NoError(t, err, "%s %s:\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

// write writes a file of a test.
func write(t *testing.T, file, text string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func read(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	text, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(text)
}
