// Package background runs a function again and again in a goroutine, from Start to Stop:
// what the parts of a process that work on a timer have in common.
package background

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Loop calls a function on a timer. The zero value is ready; Stop may be called before
// Start, and more than once.
type Loop struct {
	mu    sync.Mutex
	stop  context.CancelFunc
	ended chan struct{}
}

// Start calls f after delay and then every interval, until Stop. The context of f ends
// with Stop. Start is called once.
func (l *Loop) Start(delay, interval time.Duration, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	l.mu.Lock()
	l.stop, l.ended = cancel, ended
	l.mu.Unlock()
	go func() {
		defer close(ended)
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for ctx.Err() == nil { // when both are ready, select takes either
			f(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

// Stop ends the loop and waits for the call in progress, as long as ctx lasts.
func (l *Loop) Stop(ctx context.Context) error {
	l.mu.Lock()
	stop, ended := l.stop, l.ended
	l.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("still at work: %w", ctx.Err())
	}
}
