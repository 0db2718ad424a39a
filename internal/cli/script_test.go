package cli_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/clerksync/clerksync/internal/cli"
	"github.com/clerksync/clerksync/internal/testkit"
)

// patience is the time limit of every wait, for a busy machine.
const patience = 30 * time.Second

// TestMain runs this test binary as the program when a script calls it by the program's
// name. testscript.Main does the same, but exits the process, as testkit.Main has to.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "clerksync" {
		if file := os.Getenv(freeVariable); file != "" {
			pretendFree(file)
		}
		// As in cmd/clerksync.
		ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, release)
		os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	testkit.Main(m)
}

// The secrets of every script. No output of clerksync, in any script, may contain the
// marker: neither as the base64 of a secret nor as a part of a URL.
const (
	marker        = "Z29ub3RwcmludG1l"
	markerSecret  = "whsec_" + marker + "b2YtdGhlLWVuZHBvaW50"
	anotherSecret = "whsec_" + marker + "b2YtYW5vdGhlci1vbmUh"
)

// variables lists the variables that a script may set for the program.
var variables = []string{
	"CLERK_WEBHOOK_SIGNING_SECRET", "CLERK_INSTANCE_ID", "CLERK_SECRET_KEY", "CLERK_API_URL", "DATABASE_URL", "NATS_URL",
	"CLERKSYNC_ADDR", "CLERKSYNC_ADMIN_ADDR", "CLERKSYNC_ADMIN_TOKEN", "CLERKSYNC_APPLIERS", "CLERKSYNC_BATCH",
	"CLERKSYNC_DATA_DIR", "CLERKSYNC_LOG_FORMAT", "CLERKSYNC_LOG_LEVEL", "CLERKSYNC_LOG_MAX_AGE", "CLERKSYNC_LOG_MAX_BYTES",
	"CLERKSYNC_LOG_REPLICAS", "CLERKSYNC_MIGRATE", "CLERKSYNC_NATS_CREDS", "CLERKSYNC_NATS_NKEY", "CLERKSYNC_NATS_CA", "CLERKSYNC_NATS_CERT", "CLERKSYNC_NATS_KEY", "CLERKSYNC_NATS_DOMAIN", "CLERKSYNC_LOG_CLUSTER", "CLERKSYNC_LOG_TAGS", "CLERKSYNC_LOG_COMPRESSION", "CLERKSYNC_PG_BIN", "CLERKSYNC_PROBE_EVERY", "CLERKSYNC_PROBE_URL", "CLERKSYNC_RECONCILE_EVERY", "CLERKSYNC_ROLE",
	"CLERKSYNC_SCHEMA", "CLERKSYNC_STORE_EVENTS", "CLERKSYNC_URL",
	"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER",
}

func TestScripts(t *testing.T) {
	t.Parallel()
	events, err := filepath.Abs("../../testdata/events")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Cmds:               commands,
		Setup: func(env *testscript.Env) error {
			// PostgreSQL does not run as root and needs access to its data.
			if err := os.Chmod(filepath.Dir(env.WorkDir), 0o711); err != nil {
				return err
			}
			bin := filepath.Join(env.WorkDir, ".bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				return err
			}
			if err := os.Symlink(program, filepath.Join(bin, "clerksync")); err != nil {
				return err
			}
			env.Setenv("PATH", bin+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise every command takes a second longer under -race
			env.Setenv("EVENTS", events)
			env.Setenv("MARKER", marker)
			env.Setenv("MARKER_SECRET", markerSecret)
			env.Setenv("ANOTHER_SECRET", anotherSecret)
			env.Setenv("CLERKSYNC_ADDR", "127.0.0.1:0")
			env.Setenv("CLERKSYNC_ADMIN_ADDR", "127.0.0.1:0")
			if dir := os.Getenv("CLERKSYNC_PG_BIN"); dir != "" {
				env.Setenv("CLERKSYNC_PG_BIN", dir)
			}
			b := &background{running: map[string]*server{}, held: map[string]*pgx.Conn{}}
			env.Values[backgroundKey{}] = b
			env.Values[testKey{}] = env.T().(testing.TB)
			env.Defer(b.kill)
			return nil
		},
	})
}

type (
	backgroundKey struct{}
	testKey       struct{}
)

var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"clerksync":  cmdClerksync,
	"exitcode":   cmdExitcode,
	"start":      cmdStart,
	"signal":     cmdSignal,
	"ended":      cmdEnded,
	"output":     cmdOutput,
	"sql":        cmdSQL,
	"waitsql":    cmdWaitSQL,
	"get":        cmdGet,
	"waitget":    cmdWaitGet,
	"login":      cmdLogin,
	"same":       cmdSame,
	"postgres":   cmdPostgres,
	"database":   cmdDatabase,
	"nats":       cmdNATS,
	"redirect":   cmdRedirect,
	"alerts":     cmdAlerts,
	"occupy":     cmdOccupy,
	"perm":       cmdPerm,
	"launch":     cmdLaunch,
	"ask":        cmdAsk,
	"hold":       cmdHold,
	"release":    cmdRelease,
	"waitoutput": cmdWaitOutput,
	"tamper":     cmdTamper,
	"role":       cmdRole,
	"clerkapi":   cmdClerkAPI,
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

// clerksync ARG...: runs the program, which has to succeed.
func cmdClerksync(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg, "clerksync ARG... (for a failure: exitcode STATUS ARG...)")
	run(ts, 0, args)
}

// exitcode STATUS ARG...: runs the program, which has to end with that status.
func cmdExitcode(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "exitcode STATUS ARG...")
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	run(ts, status, args[1:])
}

func run(ts *testscript.TestScript, want int, args []string) {
	err := ts.Exec("clerksync", args...)
	status := 0
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		status = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("clerksync did not run: %v", err)
	}
	if status != want {
		ts.Fatalf("exit status %d, want %d", status, want)
	}
	checkMarker(ts, ts.ReadFile("stdout")+ts.ReadFile("stderr"))
}

func checkMarker(ts *testscript.TestScript, text string) {
	if strings.Contains(text, marker) {
		ts.Fatalf("a secret was printed:\n%s", text)
	}
}

// same A B: the words are the same.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2, "same A B")
	if (args[0] == args[1]) == neg {
		ts.Fatalf("%q and %q", args[0], args[1])
	}
}

// perm MODE FILE...: the files have these permissions.
func cmdPerm(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "perm MODE FILE...")
	for _, file := range args[1:] {
		info, err := os.Stat(ts.MkAbs(file))
		ts.Check(err)
		if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
			ts.Fatalf("%s has permissions %s, want %s", file, got, args[0])
		}
	}
}

// await waits for a condition; its error has the last state.
func await(condition func() (bool, string)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		ok, state := condition()
		if ok {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("not after %s, but: %s", patience, state)
		}
	}
}
