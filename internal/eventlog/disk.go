package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
)

var errClosing = fmt.Errorf("%w: closing", ErrUnavailable)

// disk forces what JetStream has acknowledged onto the disk, once for all that
// came at the same time: while one fsync is under way, those who come wait for the
// next.
type disk struct {
	sync   func(stream string) error
	room   func() error
	logger *slog.Logger
	broken atomic.Pointer[error] // why nothing is taken until a restart
	fatal  chan error            // the same, once

	mu      sync.Mutex
	next    *round
	coming  int           // those whose message is on its way to JetStream
	waiting int           // those in the next round
	kicks   chan struct{} // the next round is worth it
}

// round is one fsync. All that was acknowledged before it begins is part of it.
type round struct {
	done chan struct{}
	err  error // written before done is closed
}

func newDisk(o Options) *disk {
	d := &disk{sync: o.Sync, room: o.Room, logger: o.Logger, fatal: make(chan error, 1), next: newRound(), kicks: make(chan struct{}, 1)}
	if d.room == nil {
		d.room = func() error { return nil }
	}
	return d
}

func newRound() *round { return &round{done: make(chan struct{})} }

// announce says that a message is on its way, and that await or leave follows.
func (d *disk) announce() {
	d.mu.Lock()
	d.coming++
	d.mu.Unlock()
}

// leave takes an announcement back: the message was not stored.
func (d *disk) leave() {
	d.mu.Lock()
	d.coming--
	d.kick()
	d.mu.Unlock()
}

// await returns when all that was acknowledged up to now is on the disk.
func (d *disk) await(ctx context.Context) error {
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

// kick starts the next round when at least half of those who are about are in it.
// The system holds up writes to a file that it is forcing onto the disk, so that it
// does not pay to begin for a few: from 64 connections this is a fifth more.
func (d *disk) kick() {
	if d.waiting > 0 && d.waiting >= d.coming {
		select {
		case d.kicks <- struct{}{}:
		default:
		}
	}
}

// run makes the rounds until closing. Those who wait then get a last one.
func (d *disk) run(closing <-chan struct{}) {
	for {
		select {
		case <-d.kicks:
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

// force makes what a stream has acknowledged durable. After a failure the log
// takes nothing any more: what could not be written may have been dropped by the
// system, while JetStream still believes it has it and would call the same event,
// sent again, a duplicate.
func (d *disk) force(stream string) error {
	if err := d.broken.Load(); err != nil {
		return *err
	}
	if err := d.sync(stream); err != nil {
		return d.fail(err)
	}
	return nil
}

// fail ends the log.
func (d *disk) fail(cause error) error {
	err := fmt.Errorf("%w until a restart: %w", ErrUnavailable, cause)
	if d.broken.CompareAndSwap(nil, &err) {
		d.logger.Error("the event log cannot be written: look at its disk; the process has to be started anew", "err", err)
		d.fatal <- err
	}
	return *d.broken.Load()
}

// check returns why nothing is taken.
func (d *disk) check() error {
	if err := d.broken.Load(); err != nil {
		return *err
	}
	if err := d.room(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// settle looks at what became of a publish. A server in this process that does not
// answer has met an error of the disk, after which it takes nothing any more.
func (d *disk) settle(err error) error {
	if errors.Is(err, errNoAnswer) {
		return d.fail(err)
	}
	return err
}
