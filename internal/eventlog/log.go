package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnavailable means that the event is not known to be stored: the log cannot
// be reached, is full, or did not answer in time. A retry is safe.
var ErrUnavailable = errors.New("event log unavailable")

// ErrTooLarge means that the server does not take messages of this size.
var ErrTooLarge = errors.New("event too large for the event log")

// ErrNoLog means that there is no event log on the server.
var ErrNoLog = fmt.Errorf("no event log: there is no stream %s on this NATS server", Stream)

// Options say how the log is kept.
type Options struct {
	Replicas     int           // 0 is 1
	MaxAge       time.Duration // 0 is no limit
	MaxBytes     int64         // 0 is no limit but the disk
	DeadMaxAge   time.Duration // of the dead letters, as MaxAge
	DeadMaxBytes int64         // of the dead letters, as MaxBytes
	StoreEvents  []string      // globs of the types that are stored; nil says nothing about them
	Logger       *slog.Logger

	// Exclusive means that no other process reads this log, as with an embedded
	// server. Events in flight at a killed predecessor are then redelivered at once.
	Exclusive bool

	// Sync forces what a stream has acknowledged onto the disk. It is called before
	// an event counts as stored, once for all concurrent ones. Nil leaves durability to
	// the server: its replicas, or its setting sync_always.
	Sync func(stream string) error

	// Room returns an error while the disk has no room for more. It goes with Sync.
	Room func() error
}

// Log is a connection to the event log.
type Log struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	logger    *slog.Logger
	exclusive bool
	streams   map[string]jetstream.Stream // by name; their cached info is that of the opening
	resources []string                    // that its events can be about

	link  *link
	disk  *syncer  // nil when the server itself provides durability
	group *grouper // nil when events are published singly

	closing chan struct{}
	close   func()
	loops   sync.WaitGroup
}

// Open creates or updates the streams on the server and opens the log. The caller closes
// the connection, after the log.
func Open(ctx context.Context, nc *nats.Conn, o Options) (*Log, error) {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	for _, size := range []*int64{&o.MaxBytes, &o.DeadMaxBytes} {
		if *size == 0 {
			*size = -1
		}
	}
	return newLog(ctx, nc, o, func(l *Log) error { return l.ensureStreams(ctx, o) })
}

// Attach opens an existing log as it is: for the commands, which use it while another
// process keeps it. The error is [ErrNoLog] when there is none.
func Attach(ctx context.Context, nc *nats.Conn) (*Log, error) {
	return newLog(ctx, nc, Options{}, func(*Log) error { return nil })
}

func newLog(ctx context.Context, nc *nats.Conn, o Options, prepare func(*Log) error) (*Log, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{
		nc: nc, js: js, logger: o.Logger, exclusive: o.Exclusive, streams: map[string]jetstream.Stream{},
		link: newLink(nc), closing: make(chan struct{}),
	}
	l.close = sync.OnceFunc(func() { close(l.closing) })
	if err := prepare(l); err != nil {
		return nil, err
	}
	config, err := l.attach(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case o.Sync != nil:
		l.disk = newSyncer(o)
		for _, stream := range []string{Stream, DeadStream} { // the streams themselves
			if err := l.disk.force(stream); err != nil {
				return nil, err
			}
		}
		l.loops.Go(func() { l.disk.run(l.closing) })
	case config.AllowAtomicPublish:
		l.group = newGrouper(l)
		l.loops.Go(l.group.run)
	}
	l.loops.Go(func() { l.link.watch(l.closing) })
	return l, nil
}

// Close closes the log, after the commit in flight. Appends that wait for a commit
// fail with [ErrUnavailable].
func (l *Log) Close() {
	l.close()
	l.loops.Wait()
}

// Conn returns the log's connection, for messages that are not stored.
func (l *Log) Conn() *nats.Conn { return l.nc }

// Fatal delivers the reason when the log refuses all events until the process restarts.
func (l *Log) Fatal() <-chan error {
	if l.disk == nil {
		return nil
	}
	return l.disk.fatal
}

// Check returns an error unless the log can be reached and takes events.
func (l *Log) Check(ctx context.Context) error {
	if l.disk != nil {
		if err := l.disk.check(); err != nil {
			return err
		}
	}
	if _, err := l.js.Stream(ctx, Stream); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
