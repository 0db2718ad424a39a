//go:build linux || darwin

package postgres

import (
	"context"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// stopOrphan ends a server that a killed clerksync left on the cluster in dir, on systems where it does not end with
// its parent. Process 1 is then its parent. It gets SIGQUIT for the reason given at Linux's processAttributes; the
// start that follows waits for its end.
//
// The caller holds the cluster's lock, so the server is no other clerksync's. Linux does not need it, and in a
// container clerksync may itself be process 1.
func stopOrphan(ctx context.Context, dir string, log *slog.Logger) {
	pid := readPostmaster(dir).pid
	if pid <= 1 {
		return
	}
	out, err := exec.CommandContext(ctx, "ps", "-o", "ppid=", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return // a stale file, which the server handles
	}
	parent, program, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if parent != "1" || filepath.Base(strings.TrimSpace(program)) != "postgres" {
		return
	}
	log.WarnContext(ctx, "stopping a PostgreSQL server that a killed clerksync left", "dir", dir, "pid", pid)
	_ = syscall.Kill(pid, syscall.SIGQUIT) // fails when it has just ended
}
