//go:build !linux

package eventlog_test

import "syscall"

// endsWithUs is empty: only Linux has it.
var endsWithUs = &syscall.SysProcAttr{}
