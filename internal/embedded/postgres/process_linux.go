package postgres

import "syscall"

// diesWithParent reports whether a child ends with this process.
const diesWithParent = true

// processAttributes puts a child into its own process group, so that Ctrl-C in the terminal reaches only this process,
// which then stops the child in order. When this process is killed, the kernel sends the child SIGQUIT, PostgreSQL's
// immediate shutdown: unlike an orderly one, it always ends. Every commit is in the write-ahead log, which the next
// start replays.
func processAttributes(u serverUser) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: u.credential, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
