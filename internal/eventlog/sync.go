package eventlog

import (
	"context"
	"errors"
	"fmt"
)

// syncSubject takes the requests of other processes to force the log onto the disk: only
// the one with the embedded server can.
const syncSubject = "clerk.sync"

// Sync returns when every event that any process has stored before the call is durable.
// [Log.Append] does it in the process that has the embedded server. A command that stores
// events through another process calls Sync before it relies on them. On a server of its
// own, the acknowledgement of an event is all that there is, and Sync does nothing.
func (l *Log) Sync(ctx context.Context) error {
	if l.disk != nil {
		return l.Force(ctx)
	}
	if l.replicated.Load() {
		return nil
	}
	err := l.askOwner(ctx, syncSubject, nil, answerTimeout)
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("%w: sync: %w", ErrUnavailable, err)
	}
	return nil
}

// Force is [Log.Sync] for the process with the embedded server. In others it does nothing.
func (l *Log) Force(ctx context.Context) error {
	if l.disk == nil {
		return nil
	}
	forced := make(chan error, 1)
	go func() { forced <- l.disk.force(Stream) }() // a disk can take long
	select {
	case err := <-forced:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for the disk: %w", ErrUnavailable, ctx.Err())
	}
}
