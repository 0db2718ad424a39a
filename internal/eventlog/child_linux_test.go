package eventlog_test

import "syscall"

// endsWithUs ends a child when this process does, however that comes about.
var endsWithUs = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
