package postgres

import "syscall"

// diesWithParent tells whether processAttributes make a child end together with this process.
const diesWithParent = true

// processAttributes put a child into a process group of its own, so that Ctrl-C in the terminal reaches this process
// alone, which then stops the child in order. When this process ends without having done so the kernel sends the
// child SIGQUIT, PostgreSQL's immediate shutdown: it always comes to an end, which an orderly shutdown need not,
// and nobody is left to insist. Every commit is in the write-ahead log; the next start replays it.
func processAttributes(u serverUser) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: u.credential, Setpgid: true, Pdeathsig: syscall.SIGQUIT}
}
