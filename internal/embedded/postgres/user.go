//go:build linux || darwin

package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// serverUser is the user that runs initdb and the server. PostgreSQL refuses to run as root, so root needs another.
type serverUser struct {
	name       string
	credential *syscall.Credential // nil: this process's own user
}

// chooseUser returns the user that runs the server of the cluster in dir: its owner. For a new cluster it is this
// process's user, or for root the user postgres, else the user nobody.
func chooseUser(dir string) (serverUser, error) {
	owner, exists, err := clusterOwner(dir)
	switch {
	case err != nil:
		return serverUser{}, err
	case os.Geteuid() != 0:
		if exists && owner != os.Geteuid() {
			return serverUser{}, fmt.Errorf("%s belongs to the user with id %d: run clerksync as that user or as root, or name another CLERKSYNC_DATA_DIR", dir, owner)
		}
		return serverUser{}, nil
	case exists && owner == 0:
		return serverUser{}, fmt.Errorf("%s belongs to root, which PostgreSQL refuses: chown -R postgres %s", dir, dir)
	case exists:
		// initdb and postgres fail for a user id without a name.
		u, err := user.LookupId(strconv.Itoa(owner))
		if err != nil {
			return serverUser{}, fmt.Errorf("%s belongs to a user that does not exist on this machine (%w): chown -R it to one that does", dir, err)
		}
		return actAs(u)
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			return actAs(u)
		}
	}
	return serverUser{}, errors.New("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody: run clerksync as an ordinary user")
}

// clusterOwner returns the id of the user that owns the cluster in dir, if there is one.
func clusterOwner(dir string) (uid int, exists bool, err error) {
	if major, err := clusterMajor(dir); err != nil || major == 0 {
		return 0, false, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return 0, false, err
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), true, nil
}

func actAs(u *user.User) (serverUser, error) {
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return serverUser{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return serverUser{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	return serverUser{name: u.Username, credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// own gives a file or folder to the user.
func (u serverUser) own(path string) error {
	if u.credential == nil {
		return nil
	}
	return os.Chown(path, int(u.credential.Uid), int(u.credential.Gid))
}

// reach returns an error unless the user can enter folder; it names the topmost folder that is closed. Without it,
// initdb would report a closed home as "permission denied" for a folder deep inside it.
func (u serverUser) reach(folder string) error {
	if u.credential == nil {
		return nil // this process runs into its own limits
	}
	err := u.enter(folder)
	if err == nil {
		return nil
	}
	closed := folder
	for closed != "/" && u.enter(filepath.Dir(closed)) != nil {
		closed = filepath.Dir(closed)
	}
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("enter %s as user %s: %w", closed, u.name, err)
	}
	return fmt.Errorf("%w: user %s, which runs PostgreSQL because root may not, cannot enter %s: chmod o+x %s, or name another CLERKSYNC_DATA_DIR (or CLERKSYNC_PG_BIN, for its programs)", ErrUnreachable, u.name, closed, closed)
}

// enter tries to enter folder as the user, with a shell that does nothing. Mode bits would not tell: there are access
// lists, network folders and security modules.
func (u serverUser) enter(folder string) error {
	cmd := exec.Command("/bin/sh", "-c", ":")
	cmd.Dir = folder
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
	return cmd.Run()
}

// makeParents creates folder and what is missing above it so that the user can enter them, whatever the umask. It
// checks existing folders and does not change them.
func (u serverUser) makeParents(folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return u.reach(folder)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := u.makeParents(filepath.Dir(folder)); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o711); errors.Is(err, fs.ErrExist) {
		return u.reach(folder)
	} else if err != nil {
		return err
	}
	return os.Chmod(folder, 0o711)
}
