//go:build linux || darwin

package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// readyPatience is how long a starting server may log nothing before it is ready.
	readyPatience = 30 * time.Second
	// progressInterval is how often a recovering server writes to its log: well within readyPatience.
	progressInterval = 5 * time.Second
	// stalePatience is how long a start waits for the rest of a killed server: its children notice after a second or
	// two, and an immediate shutdown may take abortPatience.
	stalePatience = 10 * time.Second
	// maxPorts is how many ports are tried. A port is rarely taken between choice and use.
	maxPorts = 10
)

// startServer starts the server on a port from freePort.
func startServer(ctx context.Context, o Options, freePort func() (int, error)) (_ *Server, err error) {
	var undo []func() error
	cleanup := func() error {
		var err error
		for _, step := range slices.Backward(undo) {
			err = errors.Join(err, step())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, cleanup())
		}
	}()

	dir, err := resolve(o.Dir)
	if err != nil {
		return nil, err
	}
	major, err := clusterMajor(dir)
	if err != nil {
		return nil, err
	}
	bin, err := findBinaries(ctx, o, major)
	if err != nil {
		return nil, err
	}
	u, err := chooseUser(dir) // after an installation, which creates the user postgres
	if err != nil {
		return nil, err
	}
	if err := u.reach(bin.dir); err != nil {
		return nil, err
	}
	if err := u.makeParents(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	lock, err := lockCluster(ctx, dir)
	if err != nil {
		return nil, err
	}
	undo = append(undo, lock.Close)

	if err := ensureCluster(ctx, dir, bin, u, o); err != nil {
		return nil, err
	}
	password, err := readPassword(dir)
	if err != nil {
		return nil, err
	}
	sockets, err := makeSocketFolder(dir, u)
	if err != nil {
		return nil, err
	}
	undo = append(undo, func() error { return os.RemoveAll(sockets) })

	log, err := openServerLog(dir + ".log")
	if err != nil {
		return nil, err
	}
	undo = append(undo, log.file.Close)

	if !diesWithParent {
		stopOrphan(ctx, dir, o.Log)
	}
	l := &launcher{dir: dir, bin: bin, user: u, sockets: sockets, log: log, settings: settings(o)}
	process, port, err := l.start(ctx, freePort)
	if err != nil {
		return nil, err
	}
	p := &Server{password: password, port: port, process: process, log: log, cleanup: cleanup, done: make(chan struct{})}
	go p.watch()
	return p, nil
}

// launcher starts a server on a port.
type launcher struct {
	dir      string
	bin      binaries
	user     serverUser
	sockets  string
	log      *serverLog
	settings map[string]string
}

// settings returns the server's settings for o.
func settings(o Options) map[string]string {
	s := map[string]string{
		// A small footprint on a developer's machine.
		"shared_buffers":  "64MB",
		"max_connections": "100",
		// One file, given at the start.
		"log_destination":               "stderr",
		"logging_collector":             "off",
		"log_startup_progress_interval": strconv.FormatInt(progressInterval.Milliseconds(), 10),
		// Rows hold personal data, and so do statements, their parameters, and the details of errors ("Key (email)=…
		// already exists"): none of it belongs in a log.
		"log_min_error_statement":           "panic",
		"log_error_verbosity":               "terse",
		"log_parameter_max_length":          "0",
		"log_parameter_max_length_on_error": "0",
	}
	if o.Unsafe {
		s["fsync"] = "off"
		s["synchronous_commit"] = "off"
		s["full_page_writes"] = "off"
	}
	maps.Copy(s, o.Settings)
	return s
}

// start starts the server and waits until it is ready. It retries with another port when the port is in use, and after
// a pause when a killed server of this cluster has not ended completely.
func (l *launcher) start(ctx context.Context, freePort func() (int, error)) (*process, int, error) {
	giveUp := time.Now().Add(stalePatience)
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	for ports := 1; ; {
		before := l.log.size()
		process, err := l.launch(port)
		if err != nil {
			return nil, 0, err
		}
		ready, err := l.awaitReady(ctx, process)
		if ready {
			return process, port, nil
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%w%s", err, l.log.excerpt(before))
		}
		switch said := l.log.since(before); {
		case strings.Contains(said, "could not bind") && ports < maxPorts:
			ports++
			if port, err = freePort(); err != nil {
				return nil, 0, err
			}
		case cannotLock(said) && time.Now().Before(giveUp):
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return nil, 0, err
			}
		case cannotLock(said):
			return nil, 0, inUse(l.dir)
		default:
			return nil, 0, fmt.Errorf("postgres ended: %s%s", process.state(), l.log.excerpt(before))
		}
	}
}

// cannotLock reports whether a server refused to start because of another one, running or just killed, on the same
// folder.
func cannotLock(said string) bool {
	return strings.Contains(said, `lock file "postmaster.pid" already exists`) ||
		strings.Contains(said, "pre-existing shared memory block")
}

// launch starts the server process.
func (l *launcher) launch(port int) (*process, error) {
	args := []string{"-D", l.dir}
	for _, name := range slices.Sorted(maps.Keys(l.settings)) {
		args = append(args, "-c", name+"="+l.settings[name])
	}
	args = append(args, // last, so that they win
		"-c", "listen_addresses=127.0.0.1",
		"-c", "port="+strconv.Itoa(port),
		"-c", "unix_socket_directories="+l.sockets,
		"-c", "unix_socket_permissions=0700",
	)
	cmd := exec.Command(filepath.Join(l.bin.dir, "postgres"), args...)
	cmd.Dir = l.dir
	cmd.Env = serverEnviron()
	cmd.Stdout = l.log.file
	cmd.Stderr = l.log.file
	cmd.SysProcAttr = processAttributes(l.user)
	return startProcess(cmd)
}

// awaitReady waits until the server accepts connections. It returns false without an error when the server ended by
// itself, and with one when it had to be ended.
func (l *launcher) awaitReady(ctx context.Context, p *process) (ready bool, err error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	size, giveUp := l.log.size(), time.Now().Add(readyPatience)
	for {
		// A connection would prove less: it could reach another server.
		if pm := readPostmaster(l.dir); pm.pid == p.pid() && pm.ready {
			return true, nil
		}
		select {
		case <-p.exited:
			return false, nil
		case <-ctx.Done():
			p.abort()
			return false, fmt.Errorf("postgres was not ready in time: %w", context.Cause(ctx))
		case <-tick.C:
		}
		// A recovery can take minutes and must not be interrupted, or no start would ever succeed.
		if now := l.log.size(); now != size {
			size, giveUp = now, time.Now().Add(readyPatience)
		} else if time.Now().After(giveUp) {
			p.abort()
			return false, fmt.Errorf("postgres was not ready, and logged nothing for %s", readyPatience)
		}
	}
}

// postmaster is the content of a server's postmaster.pid.
type postmaster struct {
	pid   int
	ready bool
}

// readPostmaster reads dir/postmaster.pid: the process id in the first line, the status in the eighth. It returns zero
// when the file is missing, or incomplete. A standby is ready when it can be read.
func readPostmaster(dir string) postmaster {
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		return postmaster{}
	}
	lines := strings.Split(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil {
		return postmaster{}
	}
	return postmaster{pid: pid, ready: len(lines) >= 8 && (strings.HasPrefix(lines[7], "ready") || strings.HasPrefix(lines[7], "standby"))}
}

// maxSocketFolder bounds the path of the folder above: macOS has 103 bytes for a socket's path (Linux 107), less the
// folder of makeSocketFolder and the socket's name in it.
const maxSocketFolder = 103 - len("/clerksync-pg-01234567-0123456789") - len("/.s.PGSQL.65535")

// makeSocketFolder creates the folder for the server's unix socket, which only the server's user can enter. The path
// of the data folder is often too long for it.
func makeSocketFolder(dir string, u serverUser) (string, error) {
	name := "clerksync-pg-" + hashOf(dir) + "-"

	var errs error
	for _, base := range []string{filepath.Clean(os.TempDir()), "/tmp"} {
		if len(base) > maxSocketFolder {
			errs = errors.Join(errs, fmt.Errorf("%s is too long for the path of a socket", base))
			continue
		}
		if err := u.reach(base); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		removeLeftovers(base, name)
		folder, err := os.MkdirTemp(base, name)
		if err == nil {
			if err = u.own(folder); err == nil {
				return folder, nil
			}
			_ = os.Remove(folder)
		}
		errs = errors.Join(errs, err)
	}
	return "", fmt.Errorf("create a folder for the server's socket: %w", errs)
}
