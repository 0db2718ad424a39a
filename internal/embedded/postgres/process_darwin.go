package postgres

import "syscall"

// diesWithParent tells whether processAttributes make a child end together with this process. macOS has no such
// thing: stopOrphan does it at the next start.
const diesWithParent = false

// processAttributes put a child into a process group of its own, so that Ctrl-C in the terminal reaches this process
// alone, which then stops the child in order.
func processAttributes(u serverUser) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: u.credential, Setpgid: true}
}
