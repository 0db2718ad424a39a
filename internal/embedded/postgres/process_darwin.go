package postgres

import "syscall"

// diesWithParent reports whether a child ends with this process. macOS cannot do that: stopOrphan does it at the next
// start.
const diesWithParent = false

// processAttributes puts a child into its own process group, so that Ctrl-C in the terminal reaches only this process,
// which then stops the child in order.
func processAttributes(u serverUser) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: u.credential, Setpgid: true}
}
