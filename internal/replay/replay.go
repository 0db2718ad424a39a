package replay

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/store"
)

// Apply applies a batch: [store.Store.Apply], or [store.Store.Reapply], with which equal
// versions win too.
type Apply func(context.Context, []store.Entry) ([]store.Outcome, error)

// Options configure a replay.
type Options struct {
	Apply    Apply
	Appliers int // batches applied concurrently; 0 is 1
	Batch    int // the most events in a transaction; 0 is 1
	Logger   *slog.Logger
}

// Counts are numbers of events by outcome.
type Counts struct {
	Applied   uint64 `json:"applied"`
	Stale     uint64 `json:"stale"`
	Duplicate uint64 `json:"duplicate"`
	Ignored   uint64 `json:"ignored"`
	Dead      uint64 `json:"dead"`
}

// Total returns the number of events.
func (c Counts) Total() uint64 { return c.Applied + c.Stale + c.Duplicate + c.Ignored + c.Dead }

// Replay applies events again. Its counts can be read while it runs.
type Replay struct {
	source  source
	options Options
	counts  map[store.Outcome]*atomic.Uint64
}

// source delivers the events of a replay.
type source interface {
	// next returns the next event, [io.EOF] after the last.
	next(ctx context.Context) (*eventlog.Message, error)

	// park stores an event that can never be applied.
	park(ctx context.Context, e *clerk.Event, d eventlog.Death) error

	// settled receives the outcome of an event.
	settled(ctx context.Context, m *eventlog.Message, outcome store.Outcome) error
}

// stopTimeout bounds how long a replay that is stopped finishes its batches in flight.
const stopTimeout = 10 * time.Second

func newReplay(s source, o Options) *Replay {
	r := &Replay{source: s, options: o, counts: map[store.Outcome]*atomic.Uint64{}}
	for _, outcome := range store.Outcomes {
		r.counts[outcome] = &atomic.Uint64{}
	}
	return r
}

// Counts returns the counts so far.
func (r *Replay) Counts() Counts {
	return Counts{
		Applied: r.counts[store.Applied].Load(), Stale: r.counts[store.Stale].Load(), Duplicate: r.counts[store.Duplicate].Load(),
		Ignored: r.counts[store.Ignored].Load(), Dead: r.counts[store.Dead].Load(),
	}
}

// Run replays until the end, or until ctx ends. A second run, of all or a part, changes
// nothing.
func (r *Replay) Run(ctx context.Context) error {
	feed := &feed{replay: r, ctx: ctx}
	p := projector.New(projector.Options{
		Log: feed, Apply: r.options.Apply, Appliers: r.options.Appliers, Batch: r.options.Batch, Logger: r.options.Logger,
		Settled: feed.settled,
	})
	p.Start()
	stopped := make(chan struct{})
	detach := context.AfterFunc(ctx, func() {
		defer close(stopped)
		patience, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		_ = p.Stop(patience)
	})
	p.Wait()
	if !detach() {
		<-stopped
		return ctx.Err()
	}
	_ = p.Stop(ctx)
	return feed.err()
}

// feed is the log of a replay's projector.
type feed struct {
	replay *Replay
	ctx    context.Context // of the replay

	mu     sync.Mutex
	failed error // the first error
}

// Consume implements projector.Log. When the events cannot be read to the end, the
// projector finishes those that it has and the replay returns the error, without a retry.
func (f *feed) Consume(ctx context.Context, deliver func(*eventlog.Message)) error {
	for ctx.Err() == nil && f.err() == nil {
		m, err := f.replay.source.next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			f.fail(err)
			return nil
		}
		deliver(m)
	}
	return nil
}

// Park implements projector.Log.
func (f *feed) Park(ctx context.Context, e *clerk.Event, d eventlog.Death) error {
	return f.replay.source.park(ctx, e, d)
}

func (f *feed) settled(m *eventlog.Message, outcome store.Outcome, _ string) {
	// The event is applied, also when the replay is being stopped.
	if err := f.replay.source.settled(context.WithoutCancel(f.ctx), m, outcome); err != nil {
		f.fail(err)
		return
	}
	f.replay.counts[outcome].Add(1)
}

func (f *feed) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = err
	}
}

func (f *feed) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}
