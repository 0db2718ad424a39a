package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
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
	Domain       string        // of JetStream; "" is that of the server
	Replicas     int           // 0 is 1
	Cluster      string        // that keeps the streams; "" and no Tags leave an existing one where it is
	Tags         []string      // of the servers that keep the streams
	Compression  string        // of the streams, none or s2; "" leaves that of an existing one
	MaxBytes     int64         // 0 is no limit but the disk
	DeadMaxAge   time.Duration // of the dead letters; 0 is no limit. Events have none, see Expire
	DeadMaxBytes int64         // of the dead letters, as MaxBytes
	StoreEvents  []string      // globs of the types that are stored; nil says nothing about them
	Logger       *slog.Logger

	// Late lets Open succeed although the server is away. The log then opens by itself when
	// the server answers; until then every use fails with [ErrUnavailable].
	Late bool

	// Exclusive means that no other process reads this log, as with an embedded server:
	// see [Log.TakeBack].
	Exclusive bool

	// Sync forces what a stream has acknowledged onto the disk. It is called before
	// an event counts as stored, once for all concurrent ones. Nil leaves durability to
	// the server: its replicas, or its setting sync_always.
	Sync func(stream string) error

	// Room returns an error while the disk has no room for more. It goes with Sync.
	Room func() error

	// Erase overwrites many messages in the files of a stream, faster than the server does
	// it. It calls remove to delete them on the server. The error is
	// [errors.ErrUnsupported] when it cannot do it. It goes with Sync.
	Erase func(stream string, seqs []uint64, remove func(seqs []uint64) error) error

	testOnlyReplicated bool // to retry like in a cluster
}

// Log is a connection to the event log.
type Log struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	logger    *slog.Logger
	exclusive bool
	opened    atomic.Pointer[opened] // nil while the server is away
	admitting sync.Mutex             // one change of the stream's metadata at a time, see Admit
	permitted permissions

	replicated atomic.Bool // a cluster keeps the streams

	link  *link
	disk  *disk                                                                      // nil when the server itself provides durability
	erase func(stream string, seqs []uint64, remove func(seqs []uint64) error) error // nil: see [Options]

	fatal   chan error // why the log refuses everything until a restart
	closing chan struct{}
	close   func()
	loops   sync.WaitGroup
}

// opened is what is known of the streams once they are there.
type opened struct {
	streams   map[string]jetstream.Stream // by name; their cached info is that of the opening
	resources []string                    // that its events can be about
	id        string
	group     *grouper // nil when events are published singly
}

const (
	// openTimeout bounds an attempt to open the log of a server that may be away, and
	// openInterval is the time between two attempts.
	openTimeout  = 2 * time.Second
	openInterval = 500 * time.Millisecond
)

// errNotOpen means that the log is not open yet.
var errNotOpen = fmt.Errorf("%w: not open yet, the server is away", ErrUnavailable)

// Open creates or updates the streams on the server and opens the log. Streams that the
// account may not change are only checked. The caller closes the connection, after the log.
//
// The error is a [*Refusal] when the settings and the server do not fit.
func Open(ctx context.Context, nc *nats.Conn, o Options) (*Log, error) {
	o = o.filled()
	if o.Sync == nil && o.Replicas == 1 && o.Logger != nil {
		// Only the server's own configuration has it.
		o.Logger.Info("a single NATS server needs sync_interval: always, otherwise a power failure can take events that were answered")
	}
	return newLog(ctx, nc, o, func(ctx context.Context, l *Log) error { return l.ensureStreams(ctx, o) })
}

// filled returns the options with zeros as JetStream writes them.
func (o Options) filled() Options {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	for _, size := range []*int64{&o.MaxBytes, &o.DeadMaxBytes} {
		if *size == 0 {
			*size = -1
		}
	}
	return o
}

// Attach opens an existing log as it is: for the commands, which use it while another
// process keeps it. domain is that of JetStream, "" the server's. The error is [ErrNoLog]
// when there is none, or a [*Refusal].
func Attach(ctx context.Context, nc *nats.Conn, domain string) (*Log, error) {
	return newLog(ctx, nc, Options{Domain: domain}, func(context.Context, *Log) error { return nil })
}

func newLog(ctx context.Context, nc *nats.Conn, o Options, prepare func(context.Context, *Log) error) (*Log, error) {
	js, err := jetstream.New(nc)
	if o.Domain != "" {
		js, err = jetstream.NewWithDomain(nc, o.Domain)
	}
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{
		nc: nc, js: js, logger: o.Logger, exclusive: o.Exclusive,
		link: newLink(nc), erase: o.Erase, fatal: make(chan error, 1), closing: make(chan struct{}),
	}
	l.permitted.follow(nc)
	l.replicated.Store(o.testOnlyReplicated)
	l.close = sync.OnceFunc(func() { close(l.closing) })
	if o.Sync != nil {
		l.disk = newDisk(o, l.end)
	}
	open := func(ctx context.Context) error {
		if err := l.checkServer(ctx, o.Domain); err != nil {
			return err
		}
		if err := prepare(ctx, l); err != nil {
			return err
		}
		return l.open(ctx)
	}
	if !o.Late {
		err = open(ctx)
	} else if err = within(ctx, openTimeout, open); away(err) {
		l.logger.Warn("the event log is not there yet, waiting for it", "err", err)
		l.loops.Go(func() { l.openLater(open) })
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if l.disk != nil {
		for _, stream := range []string{Stream, DeadStream} { // the streams themselves
			if err := l.disk.force(stream); err != nil {
				return nil, err
			}
		}
		if err := l.serveOwner(syncSubject, func(ctx context.Context, _ []byte) error { return l.Sync(ctx) }); err != nil {
			return nil, err
		}
	}
	if l.erase != nil {
		if err := l.serveOwner(eraseSubject, l.eraseFor); err != nil {
			return nil, err
		}
	}
	l.loops.Go(func() { l.link.watch(l.closing) })
	return l, nil
}

func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}

// away reports whether an error means that the server cannot be reached, or is starting.
// Others need somebody who changes the configuration.
func away(err error) bool {
	var refusal *jetstream.APIError
	switch {
	case err == nil, isRefusal(err), errors.Is(err, ErrNoLog):
		return false
	case errors.As(err, &refusal):
		return refusal.Code == http.StatusServiceUnavailable
	}
	return true
}

// openLater opens the log as soon as the server is there.
func (l *Log) openLater(open func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(openInterval)
	defer tick.Stop()
	for {
		select {
		case <-l.closing:
			return
		case <-tick.C:
		}
		if !l.nc.IsConnected() {
			continue
		}
		switch err := within(ctx, openTimeout, open); {
		case err == nil:
			l.logger.Info("the event log is open")
			return
		case !away(err):
			l.end(err)
			return
		default:
			l.logger.Debug("the event log is not there yet", "err", err)
		}
	}
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
func (l *Log) Fatal() <-chan error { return l.fatal }

// end delivers the reason to Fatal, unless there is one already.
func (l *Log) end(err error) {
	select {
	case l.fatal <- err:
	default:
	}
}

// Check returns an error unless the log can be reached and takes events.
func (l *Log) Check(ctx context.Context) error {
	if l.disk != nil {
		if err := l.disk.check(); err != nil {
			return err
		}
	}
	if l.opened.Load() == nil {
		return errNotOpen
	}
	if _, err := l.js.Stream(ctx, Stream); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
