package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

var errClosing = fmt.Errorf("%w: closing", ErrUnavailable)

// syncer forces what JetStream has acknowledged onto the disk, with one fsync for many
// messages: those that arrive during an fsync wait for the next.
type syncer struct {
	sync   func(stream string) error
	room   func() error
	logger *slog.Logger
	broken atomic.Pointer[error] // why the log refuses everything until a restart
	fatal  chan<- error          // the same, once

	mu      sync.Mutex
	next    *round
	coming  int           // messages on their way to JetStream
	waiting int           // messages in the next round
	kicks   chan struct{} // starts the next round
}

// round is one fsync, of everything that was acknowledged before it began.
type round struct {
	done chan struct{}
	err  error // written before done is closed
}

func newSyncer(o Options, fatal chan error) *syncer {
	d := &syncer{sync: o.Sync, room: o.Room, logger: o.Logger, fatal: fatal, next: newRound(), kicks: make(chan struct{}, 1)}
	if d.room == nil {
		d.room = func() error { return nil }
	}
	return d
}

func newRound() *round { return &round{done: make(chan struct{})} }

// announce counts a message that is about to be published. Await or leave follows.
func (d *syncer) announce() {
	d.mu.Lock()
	d.coming++
	d.mu.Unlock()
}

// leave takes an announcement back: the message was not stored.
func (d *syncer) leave() {
	d.mu.Lock()
	d.coming--
	d.kick()
	d.mu.Unlock()
}

// await returns when everything that was acknowledged before the call is on the disk.
func (d *syncer) await(ctx context.Context) error {
	d.mu.Lock()
	r := d.next
	d.coming--
	d.waiting++
	d.kick()
	d.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for the disk: %w", ErrUnavailable, ctx.Err())
	}
}

// kick starts the next round when at least as many messages wait for it as are on their
// way to JetStream. The operating system blocks writes to a file during its fsync, so a
// round for a few messages does not pay: with 64 connections, waiting for half brings a
// fifth more.
func (d *syncer) kick() {
	if d.waiting > 0 && d.waiting >= d.coming {
		select {
		case d.kicks <- struct{}{}:
		default:
		}
	}
}

// pace is the least time between the beginnings of two rounds. A lone message is synced at
// once, and those of a stream share an fsync: at 1,000/s each would otherwise have its own.
const pace = 2 * time.Millisecond

// run makes the rounds until closing, and a last one for the messages that wait then.
func (d *syncer) run(closing <-chan struct{}) {
	var began time.Time
	for {
		select {
		case <-d.kicks:
			time.Sleep(pace - time.Since(began))
			began = time.Now()
			d.mu.Lock()
			r := d.next
			d.next, d.waiting = newRound(), 0
			d.mu.Unlock()
			r.finish(d.force(Stream))
		case <-closing:
			last := d.force(Stream)
			d.mu.Lock()
			d.next.finish(last)
			d.next = newRound()
			d.next.finish(errClosing)
			d.mu.Unlock()
			return
		}
	}
}

func (r *round) finish(err error) {
	r.err = err
	close(r.done)
}

// force makes what a stream has acknowledged durable. After a failure the log refuses
// everything: the operating system may have dropped what it could not write, while
// JetStream believes that it is stored and would call a retry of the event a duplicate.
func (d *syncer) force(stream string) error {
	if err := d.broken.Load(); err != nil {
		return *err
	}
	if err := d.sync(stream); err != nil {
		return d.fail(err)
	}
	return nil
}

// fail makes the log refuse everything until a restart.
func (d *syncer) fail(cause error) error {
	err := fmt.Errorf("%w until a restart: %w", ErrUnavailable, cause)
	if d.broken.CompareAndSwap(nil, &err) {
		d.logger.Error("the event log cannot be written: check its disk, then restart the process", "err", err)
		d.fatal <- err
	}
	return *d.broken.Load()
}

// check returns an error while the log takes no events.
func (d *syncer) check() error {
	if err := d.broken.Load(); err != nil {
		return *err
	}
	if err := d.room(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// explain returns the error of a publish. A server in this process that does not answer
// met an error of the disk, after which it stores nothing more.
func (d *syncer) explain(err error) error {
	if errors.Is(err, errNoAnswer) {
		return d.fail(err)
	}
	return err
}
