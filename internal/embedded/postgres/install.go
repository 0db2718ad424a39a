//go:build linux || darwin

package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// installHint returns how to install PostgreSQL on this machine, for an error's text.
func installHint() string {
	for _, manager := range []struct{ program, command string }{
		{"brew", "brew install postgresql@17"}, // never as root
		{"apt-get", "apt-get install -y postgresql"},
		{"dnf", "dnf install -y postgresql-server"},
		{"apk", "apk add postgresql"},
	} {
		if _, err := exec.LookPath(manager.program); err != nil {
			continue
		}
		if manager.program != "brew" && os.Geteuid() != 0 {
			return "install it with `sudo " + manager.command + "`"
		}
		return "install it with `" + manager.command + "`"
	}
	return "install it (https://www.postgresql.org/download/)"
}

// canInstall reports whether installWithApt can work here.
func canInstall() bool {
	_, debian := os.Stat("/etc/debian_version")
	_, apt := exec.LookPath("apt-get")
	return debian == nil && apt == nil && os.Geteuid() == 0
}

// createClusterDir holds configuration of pg_createcluster, which the installation of Debian's package calls.
const createClusterDir = "/etc/postgresql-common/createcluster.d"

// installWithApt installs Debian's PostgreSQL without the cluster "main" that the package would create and start on
// port 5432.
func installWithApt(ctx context.Context, log *slog.Logger) (err error) {
	undo, err := preventMainCluster(createClusterDir)
	if err != nil {
		return fmt.Errorf("install PostgreSQL: %w", err)
	}
	defer func() { err = errors.Join(err, undo()) }()
	for _, args := range [][]string{
		{"update"},
		{"install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=60", "postgresql"},
	} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // a kill would leave dpkg half done
		log.InfoContext(ctx, "no PostgreSQL on this machine: installing it", "command", strings.Join(cmd.Args, " "))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("install PostgreSQL: %s: %w%s", strings.Join(cmd.Args, " "), errors.Join(err, ctx.Err()), lastLines(string(out)))
		}
	}
	return nil
}

// preventMainCluster keeps Debian's packages from creating a cluster, until undo is called. The file can precede the
// package that reads it.
func preventMainCluster(dir string) (undo func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "clerksync.conf")
	if err := os.WriteFile(file, []byte("create_main_cluster = false\n"), 0o644); err != nil {
		return nil, err
	}
	return func() error {
		err := os.Remove(file)
		_ = os.Remove(dir) // works only when it is empty
		return err
	}, nil
}
