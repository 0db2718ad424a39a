package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/cli"
	"github.com/clerksync/clerksync/internal/testkit"
)

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// TestMain makes this test binary the program itself when it is called by the
// program's name, which is what a script does.
//
// testscript.Main would do the same with a copy of the binary, but it wants to be
// the last to leave, and so does testkit.Main.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "clerksync" {
		// As in cmd/clerksync.
		ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, release)
		os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	testkit.Main(m)
}

// The secrets of every script. Whatever clerksync prints, in whatever script, must
// not contain the marker: not in base64, which is what the secret is given in, nor
// as a part of a URL.
const (
	marker        = "Z29ub3RwcmludG1l"
	markerSecret  = "whsec_" + marker + "b2YtdGhlLWVuZHBvaW50"
	anotherSecret = "whsec_" + marker + "b2YtYW5vdGhlci1vbmUh"
)

// variables are those that a script may set for the program.
var variables = []string{
	"CLERK_WEBHOOK_SIGNING_SECRET", "CLERK_INSTANCE_ID", "DATABASE_URL", "NATS_URL",
	"CLERKSYNC_ADDR", "CLERKSYNC_ADMIN_ADDR", "CLERKSYNC_ADMIN_TOKEN", "CLERKSYNC_APPLIERS", "CLERKSYNC_BATCH",
	"CLERKSYNC_DATA_DIR", "CLERKSYNC_LOG_FORMAT", "CLERKSYNC_LOG_LEVEL", "CLERKSYNC_LOG_MAX_AGE", "CLERKSYNC_LOG_MAX_BYTES",
	"CLERKSYNC_LOG_REPLICAS", "CLERKSYNC_MIGRATE", "CLERKSYNC_NATS_CREDS", "CLERKSYNC_PG_BIN", "CLERKSYNC_ROLE",
	"CLERKSYNC_SCHEMA", "CLERKSYNC_STORE_EVENTS", "CLERKSYNC_URL",
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
			// PostgreSQL, which does not run as root, has to get at its data.
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
			env.Setenv("GORACE", "atexit_sleep_ms=0") // otherwise every command takes a second more under -race
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

func TestSendStopsWhenItIsTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { cancel() }))
	defer server.Close()
	const event = "../../testdata/events/user.created.json"
	var stdout, stderr bytes.Buffer
	status := cli.Main(ctx, []string{"send", "--url", server.URL, "--secret", markerSecret, event, event, event}, nil, &stdout, &stderr)
	require.Equal(t, 1, status)
	require.LessOrEqual(t, strings.Count(stdout.String(), "\n"), 1)
	require.Regexp(t, "^clerksync: stopped: [01] of 3 events were sent\n$", stderr.String())
}

type (
	backgroundKey struct{}
	testKey       struct{}
)

// background is what a script has started and not stopped.
type background struct {
	running map[string]*server
	held    map[string]*pgx.Conn // transactions that are open
}

func (b *background) kill() {
	for _, s := range b.running {
		s.cmd.Process.Kill()
		<-s.ended
	}
}

// server is a clerksync in the background.
type server struct {
	cmd    *exec.Cmd
	stdout output
	stderr output
	ended  chan struct{}
}

// output collects what a process writes, for others to read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

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
	"same":       cmdSame,
	"postgres":   cmdPostgres,
	"database":   cmdDatabase,
	"nats":       cmdNATS,
	"redirect":   cmdRedirect,
	"occupy":     cmdOccupy,
	"perm":       cmdPerm,
	"launch":     cmdLaunch,
	"ask":        cmdAsk,
	"hold":       cmdHold,
	"release":    cmdRelease,
	"waitoutput": cmdWaitOutput,
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

// start NAME ARG...: starts the program and waits until it says that it is ready.
// Sets NAME_PID, and NAME_DB, NAME_ENDPOINT, NAME_ADMIN, NAME_NATS, NAME_SECRET to
// what it announces.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "start NAME ARG...")
	name := args[0]
	b := ts.Value(backgroundKey{}).(*background)
	if b.running[name] != nil {
		ts.Fatalf("%s is running", name)
	}
	dir := ts.MkAbs(".")
	s := &server{cmd: exec.Command(filepath.Join(ts.Getenv("WORK"), ".bin", "clerksync"), args[1:]...), ended: make(chan struct{})}
	s.cmd.Args[0] = "clerksync"
	s.cmd.Dir = dir
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, &s.stderr
	s.cmd.Env = []string{}
	for _, key := range append([]string{"PATH", "HOME", "TMPDIR", "GORACE", "GOCOVERDIR"}, variables...) {
		if value := ts.Getenv(key); value != "" {
			s.cmd.Env = append(s.cmd.Env, key+"="+value)
		}
	}
	ts.Check(s.cmd.Start())
	b.running[name] = s
	go func() {
		s.cmd.Wait()
		close(s.ended)
	}()
	err := await(func() (bool, string) {
		select {
		case <-s.ended:
			return true, ""
		default:
		}
		return strings.Contains(s.stdout.String(), "clerksync is ready") || strings.Contains(s.stderr.String(), "clerksync is at work"), "not ready"
	})
	select {
	case <-s.ended:
		err = fmt.Errorf("it ended: %s", s.cmd.ProcessState)
	default:
	}
	if err != nil {
		ts.Fatalf("start %s: %v\n%s%s", name, err, s.stdout.String(), s.stderr.String())
	}
	ts.Setenv(name+"_PID", strconv.Itoa(s.cmd.Process.Pid))
	if found := regexp.MustCompile(` admin=(\S+)`).FindStringSubmatch(s.stderr.String()); found != nil {
		ts.Setenv(name+"_ADMIN", found[1])
	}
	if found := regexp.MustCompile(` endpoint=(\S+)`).FindStringSubmatch(s.stderr.String()); found != nil {
		ts.Setenv(name+"_ENDPOINT", found[1])
	}
	data := ts.Getenv("CLERKSYNC_DATA_DIR")
	if data == "" {
		data = ".clerksync"
	}
	text, err := os.ReadFile(filepath.Join(ts.MkAbs(data), "running.json"))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	ts.Check(err)
	var r map[string]any
	ts.Check(json.Unmarshal(text, &r))
	for suffix, key := range map[string]string{
		"DB": "database_url", "ENDPOINT": "endpoint", "ADMIN": "admin_url", "NATS": "nats_url", "SECRET": "signing_secret",
	} {
		value, _ := r[key].(string)
		ts.Setenv(name+"_"+suffix, value)
	}
}

func find(ts *testscript.TestScript, name string) *server {
	s := ts.Value(backgroundKey{}).(*background).running[name]
	if s == nil {
		ts.Fatalf("%s is not running", name)
	}
	return s
}

// signal NAME SIGNAL: sends SIGINT, SIGTERM or SIGKILL.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "signal NAME SIGNAL")
	s := find(ts, args[0])
	ts.Check(s.cmd.Process.Signal(signalNamed(ts, args[1])))
}

func signalNamed(ts *testscript.TestScript, name string) syscall.Signal {
	sig, ok := map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM, "SIGKILL": syscall.SIGKILL}[name]
	if !ok {
		ts.Fatalf("unknown signal %s", name)
	}
	return sig
}

// ended NAME STATUS: waits for the end, with that status or that signal. What it
// wrote is in stdout and stderr.
func cmdEnded(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "ended NAME STATUS")
	s := find(ts, args[0])
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.cmd.Process.Signal(syscall.SIGABRT) // prints what it is doing
		select {
		case <-s.ended:
		case <-time.After(time.Second):
		}
		ts.Fatalf("%s has not ended after %s\n%s%s", args[0], patience, s.stdout.String(), s.stderr.String())
	}
	delete(ts.Value(backgroundKey{}).(*background).running, args[0])
	printOutput(ts, s)
	status := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	got := strconv.Itoa(status.ExitStatus())
	if status.Signaled() {
		got = map[syscall.Signal]string{syscall.SIGKILL: "SIGKILL", syscall.SIGINT: "SIGINT", syscall.SIGTERM: "SIGTERM"}[status.Signal()]
	}
	if got != args[1] {
		ts.Fatalf("%s ended with %s, want %s", args[0], got, args[1])
	}
}

// output NAME: puts what it wrote so far into stdout and stderr.
func cmdOutput(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "output NAME")
	printOutput(ts, find(ts, args[0]))
}

func printOutput(ts *testscript.TestScript, s *server) {
	stdout, stderr := s.stdout.String(), s.stderr.String()
	io.WriteString(ts.Stdout(), stdout)
	io.WriteString(ts.Stderr(), stderr)
	checkMarker(ts, stdout+stderr)
}

// sql URL QUERY: prints the rows, a line each, tabs between the columns.
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "sql URL QUERY")
	rows, err := query(args[0], args[1])
	ts.Check(err)
	io.WriteString(ts.Stdout(), rows)
}

// waitsql URL QUERY ROWS: waits until the query has these rows, with | between
// columns and ; between rows.
func cmdWaitSQL(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "waitsql URL QUERY ROWS")
	want := strings.NewReplacer("|", "\t", ";", "\n").Replace(args[2])
	ts.Check(await(func() (bool, string) {
		rows, err := query(args[0], args[1])
		if err != nil {
			return false, err.Error()
		}
		return strings.TrimSuffix(rows, "\n") == want, rows
	}))
}

func query(url, statement string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var text strings.Builder
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return "", err
		}
		for i, v := range values {
			if i > 0 {
				text.WriteByte('\t')
			}
			if v == nil {
				v = "NULL"
			}
			fmt.Fprint(&text, v)
		}
		text.WriteByte('\n')
	}
	return text.String(), rows.Err()
}

// get URL: prints what is there.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "get URL")
	text, err := get(args[0])
	ts.Check(err)
	io.WriteString(ts.Stdout(), text)
}

// waitget URL TEXT: waits until the text is there.
func cmdWaitGet(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "waitget URL TEXT")
	ts.Check(await(func() (bool, string) {
		text, err := get(args[0])
		if err != nil {
			return false, err.Error()
		}
		return strings.Contains(text, args[1]), text
	}))
}

func get(url string) (string, error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// same A B: the words are the same.
func cmdSame(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2, "same A B")
	if (args[0] == args[1]) == neg {
		ts.Fatalf("%q and %q", args[0], args[1])
	}
}

// postgres DIR none|gone|kill: looks for the servers of a data folder. There are
// none; or soon none; or there is one, which is killed.
func cmdPostgres(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "postgres DIR none|gone|kill")
	dir, err := filepath.EvalSymlinks(ts.MkAbs(args[0]))
	ts.Check(err)
	look := func() []int {
		pids, err := serversOf(filepath.Join(dir, "postgres"))
		ts.Check(err)
		return pids
	}
	switch args[1] {
	case "none":
		if pids := look(); len(pids) > 0 {
			ts.Fatalf("processes are left: %v", pids)
		}
	case "gone":
		ts.Check(await(func() (bool, string) {
			pids := look()
			return len(pids) == 0, fmt.Sprintf("processes are left: %v", pids)
		}))
	case "kill":
		pids := look()
		if len(pids) != 1 {
			ts.Fatalf("the servers of %s: %v", dir, pids)
		}
		ts.Check(syscall.Kill(pids[0], syscall.SIGKILL))
	default:
		ts.Fatalf("unknown: %s", args[1])
	}
}

// serversOf lists the processes that serve a cluster. Those of a backend say in
// their title what they do, and not where.
func serversOf(cluster string) ([]int, error) {
	out, err := exec.Command("ps", "-axww", "-o", "pid=,stat=,args=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 3 || strings.HasPrefix(words[1], "Z") || !strings.Contains(line, " -D "+cluster+" ") {
			continue
		}
		pid, err := strconv.Atoi(words[0])
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// database VARIABLE: makes an empty database.
func cmdDatabase(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "database VARIABLE")
	ts.Setenv(args[0], testkit.EmptyDatabaseURL(ts.Value(testKey{}).(testing.TB)))
}

// nats VARIABLE: starts a NATS server.
func cmdNATS(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "nats VARIABLE")
	ts.Setenv(args[0], testkit.NATS(ts.Value(testKey{}).(testing.TB)).URL())
}

// redirect VARIABLE URL: starts a web server that redirects to a URL.
func cmdRedirect(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "redirect VARIABLE URL")
	s := httptest.NewServer(http.RedirectHandler(args[1], http.StatusPermanentRedirect))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// occupy VARIABLE: takes a port and names it.
func cmdOccupy(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "occupy VARIABLE")
	s := httptest.NewServer(http.NotFoundHandler())
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.Listener.Addr().String())
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

// await waits for a condition, and tells the last state when it does not come.
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

// launch NAME ARG...: starts the program and goes on.
func cmdLaunch(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "launch NAME ARG...")
	launch(ts, args, nil)
}

// ask NAME ARG...: launch, with somebody at its standard input who says nothing.
func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "ask NAME ARG...")
	r, w, err := os.Pipe()
	ts.Check(err)
	ts.Defer(func() { w.Close() })
	launch(ts, args, r)
	ts.Check(r.Close())
}

func launch(ts *testscript.TestScript, args []string, stdin *os.File) {
	b := ts.Value(backgroundKey{}).(*background)
	if b.running[args[0]] != nil {
		ts.Fatalf("%s is running", args[0])
	}
	s := &server{cmd: exec.Command(filepath.Join(ts.Getenv("WORK"), ".bin", "clerksync"), args[1:]...), ended: make(chan struct{})}
	s.cmd.Args[0] = "clerksync"
	s.cmd.Dir = ts.MkAbs(".")
	if stdin != nil {
		s.cmd.Stdin = stdin
	}
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, &s.stderr
	s.cmd.Env = []string{}
	for _, key := range append([]string{"PATH", "HOME", "TMPDIR", "GORACE", "GOCOVERDIR"}, variables...) {
		if value := ts.Getenv(key); value != "" {
			s.cmd.Env = append(s.cmd.Env, key+"="+value)
		}
	}
	ts.Check(s.cmd.Start())
	b.running[args[0]] = s
	go func() {
		s.cmd.Wait()
		close(s.ended)
	}()
}

// waitoutput NAME TEXT: waits until it has written the text.
func cmdWaitOutput(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "waitoutput NAME TEXT")
	s := find(ts, args[0])
	ts.Check(await(func() (bool, string) {
		text := s.stdout.String() + s.stderr.String()
		return strings.Contains(text, args[1]), text
	}))
}

// hold NAME URL STATEMENT: runs a statement in a transaction that stays open.
func cmdHold(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "hold NAME URL STATEMENT")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, args[1])
	ts.Check(err)
	ts.Defer(func() { conn.Close(context.Background()) })
	_, err = conn.Exec(ctx, "BEGIN; "+args[2])
	ts.Check(err)
	ts.Value(backgroundKey{}).(*background).held[args[0]] = conn
}

// release NAME: rolls the transaction back.
func cmdRelease(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "release NAME")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(ts.Value(backgroundKey{}).(*background).held[args[0]].Close(ctx))
}
