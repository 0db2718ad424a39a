//go:build linux || darwin

package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
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

// passwordFile stands inside the cluster, readable for the server's user alone (who can read all the data anyway)
// and root: so there is never a cluster without its password, and they move together.
const passwordFile = "clerksync.password"

// lockPatience is how long a start waits for the process that holds the cluster's lock, which may be just dying.
const lockPatience = time.Second

// clusterMajor returns the major version of the cluster in dir, 0 when there is none.
func clusterMajor(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return 0, fmt.Errorf("%w: run clerksync as the user who owns %s, or name another CLERKSYNC_DATA_DIR", err, dir)
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

// resolve makes dir absolute and free of symbolic links as far as it exists, so that the folders above it are the
// ones that the server's user has to pass.
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

// lockCluster makes this process the only one that works on the cluster in dir, until the returned file is closed or
// the process ends. PostgreSQL's own lock protects a running server; this one also covers the making of the cluster,
// and tells at once.
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

// inUse is the error about a cluster that another process works on.
func inUse(dir string) error {
	who := "another process"
	if pm := readPostmaster(dir); pm.pid != 0 {
		who = fmt.Sprintf("another PostgreSQL server (pid %d)", pm.pid)
	}
	return fmt.Errorf("%s is using %s: stop the clerksync it belongs to, or name another CLERKSYNC_DATA_DIR", who, dir)
}

// ensureCluster makes a cluster in dir unless there is one. It is made in a folder beside and moved into place when it
// is complete: an initdb that is killed leaves nothing that looks like a cluster.
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

	// The password is written before the folder is given away: root must not write where another user can put links.
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
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty folder may stand there
		return err
	}
	if err := os.Rename(cluster, dir); err != nil {
		return err
	}
	// Without this a power cut could undo the move, and the next start would wipe the cluster as a leftover.
	if err := errors.Join(syncFolder(dir), syncFolder(parent)); err != nil {
		return err
	}
	o.Log.InfoContext(ctx, "made a PostgreSQL cluster", "dir", dir, "version", bin.major, "took", time.Since(started).Round(time.Millisecond))
	return nil
}

// hashOf makes a short name of a path, for folders that belong to the cluster there and to no other.
func hashOf(dir string) string {
	hash := fnv.New32a()
	hash.Write([]byte(dir))
	return fmt.Sprintf("%08x", hash.Sum32())
}

// removeLeftovers removes the folders that earlier starts, killed, left in parent. The caller holds the lock of the one
// cluster whose folders have this prefix, so that none of them is in use.
func removeLeftovers(parent, prefix string) {
	entries, _ := os.ReadDir(parent)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), prefix) {
			_ = os.RemoveAll(filepath.Join(parent, entry.Name())) // what stays is in nobody's way
		}
	}
}

// initdb makes a cluster in the missing folder dir.
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
	cmd.WaitDelay = 5 * time.Second // killed, it leaves a child with its output open for a moment

	runtime.LockOSThread() // for processAttributes, as in startProcess
	defer runtime.UnlockOSThread()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w%s", errors.Join(err, context.Cause(ctx)), lastLines(string(out)))
	}
	return nil
}

// serverEnviron is all that the server learns of this process's environment, which holds Clerk's secrets for those
// who can look at the server's, and PG* variables that mean other servers.
func serverEnviron() []string {
	env := []string{"LC_ALL=C"} // messages in English, which start reads; and macOS needs a valid one
	for _, name := range []string{"PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

func writePassword(path string) error {
	secret := make([]byte, 20)
	if _, err := rand.Read(secret); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(hex.EncodeToString(secret) + "\n")
	return errors.Join(err, file.Sync(), file.Close())
}

// passwordForm also keeps what else could be in its place, such as a link to another file, out of a URL.
var passwordForm = regexp.MustCompile(`^[0-9a-f]{40}\n$`)

// readPassword returns the superuser's password of the cluster in dir.
func readPassword(dir string) (string, error) {
	path := filepath.Join(dir, passwordFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s is missing: clerksync did not make this cluster; name another CLERKSYNC_DATA_DIR, or start it yourself and set DATABASE_URL", path)
	}
	if err != nil {
		return "", err
	}
	if !passwordForm.Match(text) {
		return "", fmt.Errorf("%s does not hold a password that clerksync made", path)
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

// pause waits for d, or for the end of ctx, which is an error.
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
