package postgres

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// abortPatience bounds an immediate shutdown. The server gives its own children five seconds before it kills them,
// so less would leave some behind.
const abortPatience = 7 * time.Second

// process is a started command that any number of goroutines can wait for.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// startProcess starts cmd and reaps it when it ends.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Pdeathsig fires when the thread that forked ends, not the process. Go ends idle threads; a locked one
		// lives as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // its result is in cmd.ProcessState
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// state returns how the process ended ("signal: killed"), after exited is closed.
func (p *process) state() string { return p.cmd.ProcessState.String() }

// signal sends s. Its only possible error is that the process has ended, as exited shows.
func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// abort ends the process at once, waits for its end, and returns the signal that did it.
func (p *process) abort() string {
	p.signal(syscall.SIGQUIT) // "immediate shutdown"
	patience := time.NewTimer(abortPatience)
	defer patience.Stop()
	select {
	case <-p.exited:
		return "SIGQUIT"
	case <-patience.C:
	}
	p.signal(syscall.SIGKILL)
	<-p.exited
	return "SIGKILL"
}
