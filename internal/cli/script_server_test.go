package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/clerksync/clerksync/internal/testkit"
)

// background holds the processes that a script started and has not stopped.
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
	stdout testkit.Output
	stderr testkit.Output
	ended  chan struct{}
}

// start NAME ARG...: starts the program and waits until it says that it is ready.
// Sets NAME_PID, and NAME_DB, NAME_ENDPOINT, NAME_ADMIN, NAME_NATS, NAME_SECRET from
// running.json.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "start NAME ARG...")
	name := args[0]
	s := launch(ts, args, nil)
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

// ended NAME STATUS: waits for the end, with that status or that signal, and puts the
// output into stdout and stderr.
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

// output NAME: puts the output so far into stdout and stderr.
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

// postgres DIR none|gone|kill: checks that a data folder has no server, waits until it has
// none, or kills the one that it has.
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

// serversOf lists the postmasters of a cluster: the titles of backends do not name it.
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

// launch NAME ARG...: starts the program in the background.
func cmdLaunch(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "launch NAME ARG...")
	launch(ts, args, nil)
}

// ask NAME ARG...: launch, with an open standard input that stays silent.
func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 1, "ask NAME ARG...")
	r, w, err := os.Pipe()
	ts.Check(err)
	ts.Defer(func() { w.Close() })
	launch(ts, args, r)
	ts.Check(r.Close())
}

func launch(ts *testscript.TestScript, args []string, stdin *os.File) *server {
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
	return s
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
