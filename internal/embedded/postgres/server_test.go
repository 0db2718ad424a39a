//go:build linux || darwin

package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// parentEnv makes this test binary a program that runs the server of the named cluster until its input ends: a parent
// that tests can kill.
const parentEnv = "EMBEDDED_TEST_PARENT_OF"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		os.Exit(runParent(dir))
	}
	goleak.VerifyTestMain(m)
}

func runParent(dir string) int {
	p, err := Start(context.Background(), durable(dir))
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	fmt.Println(p.process.pid(), p.URL("postgres"))
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := p.Stop(context.Background()); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

func testOptions(dir string) Options {
	return Options{Dir: dir, BinDir: os.Getenv("CLERKSYNC_PG_BIN"), Unsafe: true}
}

// durable returns options for tests that kill the server: without synchronous_commit it would lose its last commits.
func durable(dir string) Options {
	o := testOptions(dir)
	o.Unsafe = false
	return o
}

// newDir returns a data folder that does not exist yet and that the server's user can reach: only this process's user
// can enter the parent of t.TempDir.
func newDir(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("", "embedded-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(parent)) })
	require.NoError(t, os.Chmod(parent, 0o711))
	return filepath.Join(parent, "pg")
}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	begun := time.Now()
	p, err := Start(t.Context(), o)
	require.NoError(t, err)
	t.Logf("start took %s", time.Since(begun).Round(time.Millisecond))
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	return p
}

// query runs a statement on a new connection and returns its one value.
func query(t *testing.T, url, sql string, args ...any) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	defer conn.Close(context.Background())
	var value string
	err = conn.QueryRow(t.Context(), sql, args...).Scan(&value)
	if !errors.Is(err, pgx.ErrNoRows) {
		require.NoError(t, err)
	}
	return value
}

// remember stores a value in the cluster, recall reads it.
func remember(t *testing.T, url, value string) {
	t.Helper()
	query(t, url, "create table kept (value text)")
	query(t, url, "insert into kept values ($1)", value)
}

func recall(t *testing.T, url string) string {
	t.Helper()
	return query(t, url, "select value from kept")
}

func awaitDone(t *testing.T, p *Server) {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("the server has not ended after 20 s")
	}
}

// gone reports whether a process has ended, reaped or not.
func gone(pid int) bool {
	out, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	return err != nil || strings.HasPrefix(string(out), "Z")
}

func awaitGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool { return gone(pid) }, 20*time.Second, 10*time.Millisecond, "pid %d", pid)
}

func TestPostgresKeepsDataFromStartToStart(t *testing.T) {
	t.Parallel()
	o := testOptions(newDir(t))
	first := start(t, o)
	remember(t, first.URL("postgres"), "kept")
	require.Equal(t, o.Dir, query(t, first.URL("postgres"), "show data_directory"))
	sockets := query(t, first.URL("postgres"), "show unix_socket_directories")
	info, err := os.Stat(sockets)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	require.NoError(t, first.Err())

	require.NoError(t, first.Stop(t.Context()))
	require.NoError(t, first.Err())
	require.NoDirExists(t, sockets)
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "clerksync-pg-"+hashOf(o.Dir)+"*"))
	require.NoError(t, err)
	require.Empty(t, left)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(o.Dir), "*"))
	require.NoError(t, err)
	require.Equal(t, []string{o.Dir, o.Dir + ".lock", o.Dir + ".log"}, files)

	second := start(t, o)
	require.Equal(t, "kept", recall(t, second.URL("postgres")))
	require.Equal(t, first.password, second.password)
}

func TestPostgresAsksForThePassword(t *testing.T) {
	t.Parallel()
	p := start(t, testOptions(newDir(t)))
	for _, host := range []string{"127.0.0.1", query(t, p.URL("postgres"), "show unix_socket_directories")} {
		_, err := pgx.Connect(t.Context(), fmt.Sprintf("host=%s port=%d user=postgres password=wrong dbname=postgres sslmode=disable", host, p.port))
		require.ErrorContains(t, err, "password authentication failed", host)
	}
}

// TestPasswordOfACluster: a new one is short; that of an older cluster is still read.
func TestPasswordOfACluster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, passwordFile)
	require.NoError(t, writePassword(file))
	first, err := readPassword(dir)
	require.NoError(t, err)
	require.Len(t, first, 12)

	older := strings.Repeat("0123456789abcdef0123", 2)
	require.NoError(t, os.WriteFile(file, []byte(older+"\n"), 0o600))
	password, err := readPassword(dir)
	require.NoError(t, err)
	require.Equal(t, older, password)

	for _, foreign := range []string{"", first, first + "a\n", older + first + "\n", "ABCDEFGHIJKL\n", "root:x:0:0:\n"} {
		require.NoError(t, os.WriteFile(file, []byte(foreign), 0o600))
		_, err := readPassword(dir)
		require.EqualError(t, err, file+" does not hold a password of clerksync")
	}
}

func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	o := durable(newDir(t))
	o.Settings = map[string]string{"max_connections": "17", "port": "5432"}
	p := start(t, o)
	for name, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"max_connections": "17", "shared_buffers": "64MB", "listen_addresses": "127.0.0.1",
		"server_encoding": "UTF8", "lc_collate": "C",
	} {
		require.Equal(t, want, query(t, p.URL("postgres"), "show "+name), name)
	}
	require.NotEqual(t, 5432, p.port)
}

func TestPostgresLogHasNoPersonalData(t *testing.T) {
	t.Parallel()
	o := testOptions(newDir(t))
	p := start(t, o)
	conn, err := pgx.Connect(t.Context(), p.URL("postgres"))
	require.NoError(t, err)
	defer conn.Close(context.Background())
	const insert = "insert into person values ($1)"
	_, err = conn.Exec(t.Context(), "create table person (email text primary key)")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), insert, "ada@example.org")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), insert, "ada@example.org")
	require.Error(t, err)
	_, err = conn.Exec(t.Context(), "insert into person values ('ada@example.org')")
	require.Error(t, err)

	log, err := os.ReadFile(o.Dir + ".log")
	require.NoError(t, err)
	require.Contains(t, string(log), "duplicate key value violates unique constraint")
	require.NotContains(t, string(log), "ada@")
	info, err := os.Stat(o.Dir + ".log")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestPostgresSecondStartOnTheSameFolder(t *testing.T) {
	t.Parallel()
	o := testOptions(newDir(t))
	p := start(t, o)
	_, err := Start(t.Context(), o)
	require.EqualError(t, err, fmt.Sprintf("start postgres: another PostgreSQL server (pid %d) is using %s: stop the clerksync it belongs to, or name another CLERKSYNC_DATA_DIR", p.process.pid(), o.Dir))
	require.Equal(t, "1", query(t, p.URL("postgres"), "select '1'"))
}

func TestPostgresConcurrentFirstStarts(t *testing.T) {
	t.Parallel()
	o := testOptions(newDir(t))
	var wg sync.WaitGroup
	results := make([]*Server, 3)
	for i := range results {
		wg.Go(func() { results[i], _ = Start(t.Context(), o) })
	}
	wg.Wait()
	running := 0
	for _, p := range results {
		if p != nil {
			running++
			require.NoError(t, p.Stop(t.Context()))
		}
	}
	require.Equal(t, 1, running)
}

func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	o := durable(newDir(t))
	p := start(t, o)
	remember(t, p.URL("postgres"), "kept")
	require.NoError(t, syscall.Kill(p.process.pid(), syscall.SIGKILL))
	awaitDone(t, p)
	require.ErrorContains(t, p.Err(), "ended: signal: killed; the last lines of "+o.Dir+".log:\n\t")
	require.ErrorContains(t, p.Err(), "database system is ready to accept connections")
	require.NotContains(t, p.Err().Error(), p.password)
	require.NoError(t, p.Stop(t.Context()), "nothing is left to stop")
	require.Error(t, p.Err(), "a later Stop does not hide the reason")

	again := start(t, o)
	require.Equal(t, "kept", recall(t, again.URL("postgres")))
}

// startParent runs the server of dir in another process, given by cmd, and returns the server's pid and URL.
func startParent(t *testing.T, cmd *exec.Cmd, dir string) (pid int, url string, stop func()) {
	t.Helper()
	cmd.Env = append(os.Environ(), parentEnv+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stop = sync.OnceFunc(func() {
		in.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	_, err = fmt.Sscan(line, &pid, &url)
	require.NoError(t, err, line)
	return pid, url, stop
}

func TestPostgresParentAndServerKilled(t *testing.T) {
	t.Parallel()
	o := durable(newDir(t))
	parent := exec.Command(os.Args[0])
	pid, url, stop := startParent(t, parent, o.Dir)
	remember(t, url, "kept")
	require.NoError(t, parent.Process.Signal(syscall.SIGSTOP)) // so that it cannot notice
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.NoError(t, parent.Process.Kill())
	stop()
	again := start(t, o)
	require.Equal(t, "kept", recall(t, again.URL("postgres")))
}

func TestPostgresOrphanIsStopped(t *testing.T) {
	t.Parallel()
	o := testOptions(newDir(t))
	first := start(t, o)
	remember(t, first.URL("postgres"), "kept")
	require.NoError(t, first.Stop(t.Context()))

	u, err := chooseUser(o.Dir)
	require.NoError(t, err)
	bin, err := findBinaries(t.Context(), o, 0)
	require.NoError(t, err)
	port, err := freePort()
	require.NoError(t, err)
	shell := exec.Command("/bin/sh", "-c", `"$0" "$@" </dev/null >/dev/null 2>&1 &`, filepath.Join(bin.dir, "postgres"),
		"-D", o.Dir, "-c", "unix_socket_directories=", "-c", "listen_addresses=127.0.0.1", "-c", "port="+strconv.Itoa(port))
	shell.Dir = filepath.Dir(o.Dir)
	shell.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential, Setpgid: true}
	require.NoError(t, shell.Run())
	require.Eventually(t, func() bool { return readPostmaster(o.Dir).ready }, 20*time.Second, 10*time.Millisecond)
	pid := readPostmaster(o.Dir).pid
	t.Cleanup(func() {
		if readPostmaster(o.Dir).pid == pid {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	parent, err := exec.Command("ps", "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
	require.NoError(t, err)
	stopOrphan(t.Context(), o.Dir, slog.New(slog.DiscardHandler))
	if strings.TrimSpace(string(parent)) != "1" { // it was adopted, so it is no orphan
		require.NoError(t, syscall.Kill(pid, 0))
		return
	}
	again := start(t, o)
	require.Equal(t, "kept", recall(t, again.URL("postgres")))
	awaitGone(t, pid)
}

func TestPostgresStopManyTimes(t *testing.T) {
	t.Parallel()
	p := start(t, testOptions(newDir(t)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := p.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, p.Stop(t.Context()))
	require.NoError(t, p.Err())
}

func TestPostgresStopWithoutPatience(t *testing.T) {
	t.Parallel()
	o := durable(newDir(t))
	p := start(t, o)
	remember(t, p.URL("postgres"), "kept")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); err != nil { // the orderly shutdown may have won
		require.EqualError(t, err, "stop postgres: orderly shutdown did not finish (context canceled): ended by SIGQUIT")
	}
	require.NoError(t, p.Err())
	require.Equal(t, "kept", recall(t, start(t, o).URL("postgres")))
}

func TestPostgresStartCancelled(t *testing.T) {
	t.Parallel()
	o := testOptions(newDir(t))
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond) // in the middle of initdb
	defer cancel()
	_, err := Start(ctx, o)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoDirExists(t, o.Dir)
	start(t, o)
}

func TestPostgresTakesAnotherPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	ports := []func() (int, error){
		func() (int, error) { return taken.Addr().(*net.TCPAddr).Port, nil },
		freePort,
	}
	o := testOptions(newDir(t))
	o.Log = slog.New(slog.DiscardHandler)
	p, err := startServer(t.Context(), o, func() (int, error) {
		next := ports[0]
		ports = ports[1:]
		return next()
	})
	require.NoError(t, err)
	require.Empty(t, ports)
	require.NoError(t, p.Stop(t.Context()))
}

func TestPostgresRefusedSetting(t *testing.T) {
	t.Parallel()
	o := testOptions(newDir(t))
	o.Settings = map[string]string{"shared_buffers": "plenty"}
	_, err := Start(t.Context(), o)
	require.ErrorContains(t, err, "start postgres: postgres ended: exit status 1; the last lines of "+o.Dir+".log:\n\t")
	require.ErrorContains(t, err, `invalid value for parameter "shared_buffers": "plenty"`)
}

func TestPostgresLeavesOtherFilesAlone(t *testing.T) {
	t.Parallel()
	o := testOptions(newDir(t))
	require.NoError(t, os.Mkdir(o.Dir, 0o755))
	mine := filepath.Join(o.Dir, "thesis.txt")
	require.NoError(t, os.WriteFile(mine, nil, 0o644))
	_, err := Start(t.Context(), o)
	require.EqualError(t, err, "start postgres: "+o.Dir+" holds files but no PostgreSQL cluster: they are left alone; empty it, or name another CLERKSYNC_DATA_DIR")
	require.FileExists(t, mine)
	require.NoError(t, os.Remove(mine))
	start(t, o) // an empty folder is no obstacle
}

func TestPostgresNamesTheClosedFolder(t *testing.T) {
	t.Parallel()
	parent := filepath.Dir(newDir(t))
	home := filepath.Join(parent, "home")
	require.NoError(t, os.MkdirAll(filepath.Join(home, "project"), 0o755))
	require.NoError(t, os.Chmod(home, 0o700))
	o := testOptions(filepath.Join(home, "project", ".clerksync", "pg"))
	if os.Geteuid() != 0 { // only root runs the server as another user
		start(t, o)
		return
	}
	u, err := chooseUser(o.Dir)
	require.NoError(t, err)
	_, err = Start(t.Context(), o)
	require.EqualError(t, err, fmt.Sprintf("start postgres: data folder out of reach: user %s, which runs PostgreSQL because root may not, cannot enter %s: chmod o+x %s, or name another CLERKSYNC_DATA_DIR (or CLERKSYNC_PG_BIN, for its programs)", u.name, home, home))
	require.NoDirExists(t, filepath.Dir(o.Dir))
	require.NoError(t, os.Chmod(home, 0o701))
	start(t, o)
}

// writeProgram writes a file to be executed. A process that another test forks meanwhile
// would hold it open for writing until its exec, and the kernel runs no such file
// (go.dev/issue/22315).
func writeProgram(t *testing.T, path string, program []byte) {
	t.Helper()
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, program, 0o755)
	syscall.ForkLock.RUnlock()
	require.NoError(t, err)
}

func TestPostgresRunsForAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if uid := os.Geteuid(); uid != 0 {
		o := testOptions(newDir(t))
		start(t, o)
		owner, exists, err := clusterOwner(o.Dir)
		require.NoError(t, err)
		require.True(t, exists)
		require.Equal(t, uid, owner)
		return
	}
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	u, err := actAs(nobody)
	require.NoError(t, err)
	dir := newDir(t)
	require.NoError(t, u.own(filepath.Dir(dir)))
	binary := filepath.Join(filepath.Dir(dir), "test") // go test's own copy is in a folder that the user cannot enter
	program, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	writeProgram(t, binary, program)

	for _, want := range []string{"", "kept"} { // cold, warm
		parent := exec.Command(binary)
		parent.Dir = "/"
		parent.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
		pid, url, stop := startParent(t, parent, dir)
		if want == "" {
			remember(t, url, "kept")
		} else {
			require.Equal(t, want, recall(t, url))
		}
		stop()
		require.True(t, parent.ProcessState.Success())
		require.True(t, gone(pid))
	}
	start(t, testOptions(dir)) // root runs it as its owner, not as postgres
}

func TestPostgresWrongVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"14":  "the cluster was made by PostgreSQL 14, and clerksync needs 15 or newer: upgrade it with pg_upgrade, or name another CLERKSYNC_DATA_DIR",
		"9.6": "the cluster was made by PostgreSQL 9, and clerksync needs 15 or newer: upgrade it with pg_upgrade, or name another CLERKSYNC_DATA_DIR",
		"99":  "set CLERKSYNC_PG_BIN to the folder with initdb and postgres of version 99",
		"x":   `PG_VERSION does not hold a version: "x\n"`,
	} {
		o := testOptions(newDir(t))
		require.NoError(t, os.Mkdir(o.Dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(o.Dir, "PG_VERSION"), []byte(version+"\n"), 0o600))
		_, err := Start(t.Context(), o)
		require.ErrorContains(t, err, want)
	}
}

func TestPostgresBrokenPrograms(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"empty":             {nil, "does not hold the programs initdb and postgres"},
		"no initdb":         {map[string]string{"postgres": "exit 0"}, "does not hold the programs initdb and postgres"},
		"something else":    {map[string]string{"postgres": "echo hello", "initdb": ""}, "does not answer like PostgreSQL:\n\thello"},
		"does not run":      {map[string]string{"postgres": "echo no libpq; exit 127", "initdb": ""}, "--version: exit status 127:\n\tno libpq"},
		"too old":           {map[string]string{"postgres": "echo 'postgres (PostgreSQL) 14.9'", "initdb": ""}, "clerksync needs PostgreSQL 15 or newer; found: 14 in "},
		"initdb that fails": {map[string]string{"postgres": "echo 'postgres (PostgreSQL) 16.1'", "initdb": "echo no space left; exit 1"}, "initdb: exit status 1:\n\tno space left"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := testOptions(newDir(t))
			o.BinDir = filepath.Join(filepath.Dir(o.Dir), "bin")
			require.NoError(t, os.Mkdir(o.BinDir, 0o755))
			for program, script := range c.files {
				writeProgram(t, filepath.Join(o.BinDir, program), []byte("#!/bin/sh\n"+script+"\n"))
			}
			_, err := Start(t.Context(), o)
			require.ErrorContains(t, err, c.want)
			require.NoDirExists(t, o.Dir)
			left, err := filepath.Glob(filepath.Join(filepath.Dir(o.Dir), ".clerksync-*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestChooseBinaries(t *testing.T) {
	t.Parallel()
	found := []binaries{{"/path", 16}, {"/old", 14}, {"/new", 17}, {"/other", 17}}
	for want, dir := range map[int]string{0: "/new", 16: "/path", 17: "/new"} {
		b, err := choose(found, want)
		require.NoError(t, err)
		require.Equal(t, dir, b.dir)
	}
	_, err := choose(found, 15)
	require.EqualError(t, err, "the cluster was made by PostgreSQL 15 and needs the programs of that version; found: 16 in /path, 14 in /old, 17 in /new, 17 in /other: set CLERKSYNC_PG_BIN to the folder with initdb and postgres of version 15, or name another CLERKSYNC_DATA_DIR")
	_, err = choose(found[1:2], 0)
	require.EqualError(t, err, "clerksync needs PostgreSQL 15 or newer; found: 14 in /old: install a newer one and set CLERKSYNC_PG_BIN to the folder with its initdb and postgres")
}

func TestPreventMainCluster(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "postgresql-common", "createcluster.d")
	undo, err := preventMainCluster(dir)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, "clerksync.conf"))
	require.NoError(t, err)
	require.Equal(t, "create_main_cluster = false\n", string(text))
	require.NoError(t, undo())
	require.NoDirExists(t, dir)
}
