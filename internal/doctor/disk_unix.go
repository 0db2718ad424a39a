//go:build linux || darwin

package doctor

import "syscall"

// freeBytes is the room that this process may use on the disk of a folder.
func freeBytes(dir string) (uint64, bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return uint64(s.Bavail) * uint64(s.Bsize), true
}
