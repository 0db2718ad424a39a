//go:build !linux

package eventlog_test

import "syscall"

// endsWithUs is empty: only Linux has it. A child that survives a killed test
// process has to be ended by hand.
var endsWithUs = &syscall.SysProcAttr{}
