package eventlog_test

import "syscall"

// endsWithUs ends a child when this process ends in any way.
var endsWithUs = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
