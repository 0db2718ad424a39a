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

// stopOrphan ends the server that a killed clerksync left on the cluster in dir, where a server does not end with its
// parent. Such a server's parent is process 1. It gets SIGQUIT for the reason in Linux's processAttributes; the start that
// follows waits for its end.
//
// The caller holds the cluster's lock, so the server is no other clerksync's. On Linux this is not called: in a
// container clerksync may itself be process 1.
func stopOrphan(ctx context.Context, dir string, log *slog.Logger) {
	pid := readPostmaster(dir).pid
	if pid <= 1 {
		return
	}
	out, err := exec.CommandContext(ctx, "ps", "-o", "ppid=", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return // no such process: a stale file, which the server deals with
	}
	parent, program, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if parent != "1" || filepath.Base(strings.TrimSpace(program)) != "postgres" {
		return
	}
	log.WarnContext(ctx, "stopping a PostgreSQL server that a killed clerksync left", "dir", dir, "pid", pid)
	_ = syscall.Kill(pid, syscall.SIGQUIT) // fails when it has just ended
}
