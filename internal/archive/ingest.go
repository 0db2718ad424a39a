package archive

import (
	"context"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
)

const (
	// maxChunk and maxChunkBytes bound the events that are on their way to the log together.
	maxChunk      = 500
	maxChunkBytes = 4 << 20

	// storers bounds the chunks of added events that are stored concurrently, and waiting
	// the events that wait for one of them: a MiB each at the most.
	storers = 4
	waiting = 64

	// lookups bounds the subjects of the log that are read concurrently.
	lookups = 64
)

// Counts counts the events of an [Ingest] by outcome.
type Counts struct {
	Stored  uint64 `json:"stored"`
	Present uint64 `json:"present"` // in the log already
}

// Ingest stores events that no webhook delivered, many at once. It skips an event whose
// svix-id the log holds already. It must not be copied.
type Ingest struct {
	// Fresh means that the log holds none of the events, so that nothing has to be read to
	// store one. It is set before the first.
	Fresh bool

	log      *eventlog.Log
	holdings *eventlog.Holdings
	ctx      context.Context // ends when something fails
	fail     context.CancelCauseFunc
	start    sync.Once // of the storers
	added    chan *clerk.Event
	all      sync.WaitGroup // the storers

	mu     sync.Mutex
	counts Counts
}

// NewIngest returns an ingest into a log.
func NewIngest(ctx context.Context, log *eventlog.Log) *Ingest {
	i := &Ingest{log: log, holdings: log.Holdings(), added: make(chan *clerk.Event, waiting)}
	i.ctx, i.fail = context.WithCancelCause(ctx)
	return i
}

// Add begins to store an event unless the log holds it. It blocks while too many are in
// flight. An error means that the ingest has failed, as [Ingest.Wait] tells.
func (i *Ingest) Add(e *clerk.Event) error {
	i.start.Do(func() {
		for range storers {
			i.all.Go(i.storeAdded)
		}
	})
	select {
	case i.added <- e:
		return nil
	case <-i.ctx.Done():
		return context.Cause(i.ctx)
	}
}

// storeAdded stores what was added, together with what else was added by then.
func (i *Ingest) storeAdded() {
	for {
		select {
		case e, ok := <-i.added:
			if !ok || i.Store(i.gather(e)) != nil {
				return
			}
		case <-i.ctx.Done():
			return
		}
	}
}

func (i *Ingest) gather(e *clerk.Event) []*clerk.Event {
	events, bytes := []*clerk.Event{e}, len(e.Body)
	for len(events) < maxChunk && bytes < maxChunkBytes {
		select {
		case e, ok := <-i.added:
			if !ok {
				return events
			}
			events, bytes = append(events, e), bytes+len(e.Body)
		default:
			return events
		}
	}
	return events
}

// Store stores the events that the log does not hold, and returns when all of them are in
// the log. Calls can be concurrent. When one fails, all fail.
func (i *Ingest) Store(events []*clerk.Event) error {
	for len(events) > 0 {
		n, bytes := 0, 0
		for n < min(len(events), maxChunk) && bytes < maxChunkBytes {
			bytes += len(events[n].Body)
			n++
		}
		if err := i.store(events[:n]); err != nil {
			i.fail(err)
			return context.Cause(i.ctx)
		}
		events = events[n:]
	}
	return context.Cause(i.ctx)
}

func (i *Ingest) store(events []*clerk.Event) error {
	missing, err := i.missing(events)
	if err != nil {
		return err
	}
	// An append that began is finished, within the time of a commit: every stored event is
	// counted.
	stored, err := i.log.AppendAll(context.WithoutCancel(i.ctx), missing)
	counts := Counts{Present: uint64(len(events) - len(missing))}
	for k, s := range stored {
		switch {
		case s.Seq == 0:
			continue
		case s.Duplicate:
			counts.Present++
		default:
			counts.Stored++
		}
		if !i.Fresh {
			i.holdings.Add(missing[k])
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.counts.Stored += counts.Stored
	i.counts.Present += counts.Present
	return err
}

// missing prepares the log for events, and returns the ones that it does not hold.
func (i *Ingest) missing(events []*clerk.Event) ([]*clerk.Event, error) {
	if err := i.ctx.Err(); err != nil {
		return nil, err
	}
	types := map[string]bool{}
	for _, e := range events {
		types[e.Envelope.Type] = true
	}
	if err := i.log.Admit(i.ctx, slices.Collect(maps.Keys(types))); err != nil {
		return nil, err
	}
	if i.Fresh {
		return events, nil
	}
	has := make([]bool, len(events))
	all, ctx := errgroup.WithContext(i.ctx)
	all.SetLimit(lookups)
	for k, e := range events {
		all.Go(func() (err error) {
			has[k], err = i.holdings.Has(ctx, e)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	var missing []*clerk.Event
	for k, e := range events {
		if !has[k] {
			missing = append(missing, e)
		}
	}
	return missing, nil
}

// Counts returns the outcomes so far.
func (i *Ingest) Counts() Counts {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts
}

// Wait blocks until all added events are stored, and returns the first error. Nothing can be
// added after it.
func (i *Ingest) Wait() error {
	close(i.added)
	i.all.Wait()
	err := context.Cause(i.ctx)
	i.fail(nil)
	return err
}
