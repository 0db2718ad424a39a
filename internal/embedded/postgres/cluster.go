//go:build linux || darwin

package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// passwordFile is in the cluster's folder, so that they move together. Only root and the server's user, which can
// read all the data anyway, can read it.
const passwordFile = "clerksync.password"

// lockPatience is how long a start waits for the process that holds the cluster's lock, which may be ending.
const lockPatience = time.Second

// clusterMajor returns the major version of the cluster in dir, or 0 when there is none.
func clusterMajor(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return 0, fmt.Errorf("%w: run clerksync as the owner of %s, or name another CLERKSYNC_DATA_DIR", err, dir)
	}
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(text)), ".") // "9.6" was a version too
	major, err := strconv.Atoi(first)
	if err != nil || major <= 0 {
		return 0, fmt.Errorf("%s/PG_VERSION does not hold a version: %q", dir, text)
	}
	return major, nil
}

// resolve makes dir absolute and free of symbolic links as far as it exists, so that the folders above it are those
// that the server's user must be able to enter.
func resolve(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) && dir != "/" {
		parent, err := resolve(filepath.Dir(dir))
		return filepath.Join(parent, filepath.Base(dir)), err
	}
	return real, err
}

// lockCluster locks the cluster in dir for this process, until the returned file is closed or the process ends.
// PostgreSQL's own lock protects a running server; this one also covers the creation of the cluster.
func lockCluster(ctx context.Context, dir string) (*os.File, error) {
	file, err := os.OpenFile(dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for giveUp := time.Now().Add(lockPatience); ; {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if err == syscall.EWOULDBLOCK && time.Now().Before(giveUp) {
			err = pause(ctx, 20*time.Millisecond)
		} else if err == syscall.EWOULDBLOCK {
			err = inUse(dir)
		}
		if err != nil {
			file.Close()
			return nil, err
		}
	}
}

// inUse returns the error about a cluster that another process uses.
func inUse(dir string) error {
	who := "another process"
	if pm := readPostmaster(dir); pm.pid != 0 {
		who = fmt.Sprintf("another PostgreSQL server (pid %d)", pm.pid)
	}
	return fmt.Errorf("%s is using %s: stop the clerksync it belongs to, or name another CLERKSYNC_DATA_DIR", who, dir)
}

// ensureCluster creates a cluster in dir unless there is one. initdb works in a sibling folder, which is renamed when
// it is complete: a killed initdb leaves nothing that looks like a cluster.
func ensureCluster(ctx context.Context, dir string, bin binaries, u serverUser, o Options) (err error) {
	major, err := clusterMajor(dir)
	if err != nil {
		return err
	}
	if major != 0 {
		_, err := choose([]binaries{bin}, major) // it may have appeared since bin was chosen
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s holds files but no PostgreSQL cluster: they are left alone; empty it, or name another CLERKSYNC_DATA_DIR", dir)
	}

	parent, prefix := filepath.Dir(dir), ".clerksync-initdb-"+hashOf(dir)+"-"
	removeLeftovers(parent, prefix)
	work, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()

	// The password is written before the folder changes its owner: root must not write where another user can put links.
	password := filepath.Join(work, passwordFile)
	if err := writePassword(password); err != nil {
		return err
	}
	if err := errors.Join(u.own(password), u.own(work)); err != nil {
		return err
	}
	started := time.Now()
	cluster := filepath.Join(work, "cluster")
	if err := initdb(ctx, cluster, password, bin, u, o.Unsafe); err != nil {
		return err
	}
	if err := os.Rename(password, filepath.Join(cluster, passwordFile)); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // dir may be an empty folder
		return err
	}
	if err := os.Rename(cluster, dir); err != nil {
		return err
	}
	// Without this a power cut could undo the rename, and the next start would remove the cluster as a leftover.
	if err := errors.Join(syncFolder(dir), syncFolder(parent)); err != nil {
		return err
	}
	o.Log.InfoContext(ctx, "created a PostgreSQL cluster", "dir", dir, "version", bin.major, "took", time.Since(started).Round(time.Millisecond))
	return nil
}

// hashOf returns a short name for a path, for folders that belong to the cluster there.
func hashOf(dir string) string {
	hash := fnv.New32a()
	hash.Write([]byte(dir))
	return fmt.Sprintf("%08x", hash.Sum32())
}

// removeLeftovers removes the folders of killed starts from parent. The caller holds the lock of the one cluster
// whose folders have this prefix, so none of them is in use.
func removeLeftovers(parent, prefix string) {
	entries, _ := os.ReadDir(parent)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) {
			_ = os.RemoveAll(filepath.Join(parent, entry.Name())) // a remainder does no harm
		}
	}
}

// initdb creates a cluster in the missing folder dir.
func initdb(ctx context.Context, dir, password string, bin binaries, u serverUser, unsafe bool) error {
	args := []string{
		"--pgdata=" + dir,
		"--username=" + superuser,
		"--pwfile=" + password,
		"--auth=scram-sha-256", // host and local
		"--encoding=UTF8",
		"--no-locale", // bytes compare as bytes, and no locale need be installed
		"--no-instructions",
	}
	if unsafe {
		args = append(args, "--no-sync")
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin.dir, "initdb"), args...)
	cmd.Dir = filepath.Dir(dir)
	cmd.Env = serverEnviron()
	cmd.SysProcAttr = processAttributes(u)
	cmd.WaitDelay = 5 * time.Second // when killed, its child still holds the output open

	runtime.LockOSThread() // for processAttributes, as in startProcess
	defer runtime.UnlockOSThread()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w%s", errors.Join(err, context.Cause(ctx)), lastLines(string(out)))
	}
	return nil
}

// serverEnviron returns the server's environment. It leaves out Clerk's secrets, and PG* variables that mean other
// servers.
func serverEnviron() []string {
	env := []string{"LC_ALL=C"} // start parses English messages; and macOS needs a valid locale
	for _, name := range []string{"PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// writePassword writes a new password of 60 random bits: short enough for a line that a
// person copies, and enough against guesses over the network.
func writePassword(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(strings.ToLower(rand.Text()[:12]) + "\n")
	return errors.Join(err, file.Sync(), file.Close())
}

// passwordForm keeps any other content, such as that of a linked file, out of a URL. The
// long form is that of clusters before 60 bits.
var passwordForm = regexp.MustCompile(`^([a-z2-7]{12}|[0-9a-f]{40})\n$`)

// readPassword returns the superuser's password of the cluster in dir.
func readPassword(dir string) (string, error) {
	path := filepath.Join(dir, passwordFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s is missing: clerksync did not create this cluster; name another CLERKSYNC_DATA_DIR, or start it yourself and set DATABASE_URL", path)
	}
	if err != nil {
		return "", err
	}
	if !passwordForm.Match(text) {
		return "", fmt.Errorf("%s does not hold a password of clerksync", path)
	}
	return strings.TrimSpace(string(text)), nil
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// pause waits for d. The error is that of ctx when it ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
