package eventlog

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
)

// disk forces what the embedded server has acknowledged onto the disk.
type disk struct {
	sync   func(stream string) error
	room   func() error
	logger *slog.Logger
	broken atomic.Pointer[error] // why the log refuses everything until a restart
	end    func(error)           // is told the same, once
}

func newDisk(o Options, end func(error)) *disk {
	d := &disk{sync: o.Sync, room: o.Room, logger: o.Logger, end: end}
	if d.room == nil {
		d.room = func() error { return nil }
	}
	return d
}

// force makes what a stream has acknowledged durable. After a failure the log refuses
// everything: the operating system may have dropped what it could not write, while
// JetStream believes that it is stored and would call a retry of the event a duplicate.
func (d *disk) force(stream string) error {
	if err := d.broken.Load(); err != nil {
		return *err
	}
	if err := d.sync(stream); err != nil {
		return d.fail(err)
	}
	return nil
}

// fail makes the log refuse everything until a restart.
func (d *disk) fail(cause error) error {
	err := fmt.Errorf("%w until a restart: %w", ErrUnavailable, cause)
	if d.broken.CompareAndSwap(nil, &err) {
		d.logger.Error("the event log cannot be written: check its disk, then restart the process", "err", err)
		d.end(err)
	}
	return *d.broken.Load()
}

// check returns an error while the log takes no events.
func (d *disk) check() error {
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
func (d *disk) explain(err error) error {
	if errors.Is(err, errNoAnswer) {
		return d.fail(err)
	}
	return err
}
