package tail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// patience is how long an event may be stored and not applied before it is shown as
	// stored.
	patience = 2 * time.Second

	// buffer is how many lines wait for a slow reader; the rest is left out.
	buffer = 8192
)

// ErrDisconnected means that the connection to NATS was lost.
var ErrDisconnected = errors.New("the connection to NATS was lost")

// Watcher follows all processes on a NATS server.
type Watcher struct {
	// Alone means that no process answered at the start. Those that start later are
	// followed as well.
	Alone bool

	nc    *nats.Conn
	sub   *nats.Subscription
	lines chan *nats.Msg
}

// Watch begins to watch. The caller calls Run and then closes the connection.
func Watch(nc *nats.Conn) (*Watcher, error) {
	w := &Watcher{nc: nc, lines: make(chan *nats.Msg, buffer)}
	var err error
	if w.sub, err = nc.ChanSubscribe(linesSubject, w.lines); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", linesSubject, err)
	}
	_, err = nc.Request(leaseSubject, nil, renewal)
	w.Alone = err != nil
	return w, nil
}

// Run shows every event once: when its outcome is final, and before that only if it stays
// stored for a while. It returns the error of show, [ErrDisconnected], or nil when ctx
// ends.
func (w *Watcher) Run(ctx context.Context, show func(Event) error) error {
	defer func() { _ = w.sub.Unsubscribe() }() // fails only when the connection is closed
	tick := time.NewTicker(renewal)
	defer tick.Stop()
	m, lost := newMerger(), 0
	for {
		var due []Event
		select {
		case <-ctx.Done():
			return nil
		case line := <-w.lines:
			var e Event
			if json.Unmarshal(line.Data, &e) != nil {
				continue
			}
			due = m.take(e, time.Now())
		case now := <-tick.C:
			if err := w.nc.Publish(leaseSubject, nil); err != nil || !w.nc.IsConnected() {
				return ErrDisconnected
			}
			if all, _ := w.sub.Dropped(); all > lost {
				due = m.take(Event{At: now.UTC(), Outcome: NotShown, NotShown: all - lost}, now)
				lost = all
			}
			due = append(due, m.overdue(now)...)
		}
		for _, e := range due {
			if err := show(e); err != nil {
				return err
			}
		}
	}
}
