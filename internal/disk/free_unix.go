//go:build linux || darwin

package disk

import "syscall"

// Free returns how many bytes this process can still write to the disk of a folder, and
// false when that cannot be read.
func Free(dir string) (bytes uint64, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return uint64(s.Bavail) * uint64(s.Bsize), true
}
