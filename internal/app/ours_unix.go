//go:build unix

package app

import (
	"fmt"
	"os"
	"syscall"
)

// checkOurs refuses a folder of another user, and one that its group or all users may
// write into. Whoever may do so replaces the files that this process trusts: the secret,
// the events, and the address to which other commands connect. us is the user of this
// process.
func checkOurs(path string, us int) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("open data folder: %w", err)
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Uid != 0 && int(s.Uid) != us {
		return fmt.Errorf("%w: %s belongs to user %d, and clerksync runs as user %d; run it as that user, or name another CLERKSYNC_DATA_DIR",
			ErrNotOurs, path, s.Uid, us)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%w: other users may write into %s (mode %04o); chmod go-w %s, or name a folder inside it as CLERKSYNC_DATA_DIR, which is then made",
			ErrNotOurs, path, info.Mode().Perm(), path)
	}
	return nil
}
