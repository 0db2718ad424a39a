package postgres

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// abortPatience is how long a server may take for an immediate shutdown. It gives its own children five seconds
// before it kills them, so that less would leave some behind.
const abortPatience = 7 * time.Second

// process is a started command whose end can be waited for by many.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// startProcess starts cmd and reaps it when it ends.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Pdeathsig fires when the thread that forked ends, not the process. Go ends idle threads as it likes; this
		// one stays for as long as the child lives.
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

// state tells how the process ended ("signal: killed"); only after exited is closed.
func (p *process) state() string { return p.cmd.ProcessState.String() }

// signal sends s. The only error there can be is that the process has ended, which exited tells.
func (p *process) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// abort ends the process without any regard for what it does, waits for that, and names the signal that was needed.
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
