package archive

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
)

// inFlight and inFlightBytes limit the events that an [Ingest] stores concurrently; they
// share a group commit.
const (
	inFlight      = 256
	inFlightBytes = 32 << 20
)

// Counts counts the events of an [Ingest] by outcome.
type Counts struct {
	Stored  uint64 `json:"stored"`
	Present uint64 `json:"present"` // in the log already
}

// Ingest stores events that no webhook delivered, many concurrently. It skips an event
// whose svix-id the log holds already.
type Ingest struct {
	// Fresh means that the log holds none of the events, so that nothing has to be read to
	// store one. It is set before the first.
	Fresh bool

	log      *eventlog.Log
	holdings *eventlog.Holdings
	all      *errgroup.Group
	ctx      context.Context // of the group
	fail     context.CancelCauseFunc
	room     *semaphore.Weighted

	mu     sync.Mutex
	counts Counts
}

// NewIngest returns an ingest into a log.
func NewIngest(ctx context.Context, log *eventlog.Log) *Ingest {
	i := &Ingest{log: log, holdings: log.Holdings(), room: semaphore.NewWeighted(inFlightBytes)}
	ctx, i.fail = context.WithCancelCause(ctx)
	i.all, i.ctx = errgroup.WithContext(ctx)
	i.all.SetLimit(inFlight)
	return i
}

// Add begins to store an event unless the log holds it. It blocks while too many are in
// flight. An error means that the ingest has failed; [Ingest.Wait] may know the cause.
func (i *Ingest) Add(e *clerk.Event) error { return i.add(e, func() {}) }

// Store stores the events that the log does not hold, and returns when all of them are in
// the log. Concurrent calls share what can be in flight. When one fails, all fail.
func (i *Ingest) Store(events []*clerk.Event) error {
	var stored sync.WaitGroup
	for _, e := range events {
		stored.Add(1)
		if err := i.add(e, stored.Done); err != nil {
			i.fail(err)
			stored.Done()
			break
		}
	}
	stored.Wait()
	return context.Cause(i.ctx)
}

// add begins to store an event, and calls done when it is stored or has failed.
func (i *Ingest) add(e *clerk.Event, done func()) error {
	if err := i.ctx.Err(); err != nil {
		return err
	}
	if err := i.log.Admit(i.ctx, []string{e.Envelope.Type}); err != nil {
		return err
	}
	size := min(int64(len(e.Body)), inFlightBytes)
	if err := i.room.Acquire(i.ctx, size); err != nil {
		return err
	}
	i.all.Go(func() error {
		defer i.room.Release(size)
		err := i.store(e)
		if err != nil {
			i.fail(err) // before done, so that [Ingest.Store] sees it
		}
		done()
		return err
	})
	return nil
}

func (i *Ingest) store(e *clerk.Event) error {
	present := false
	if !i.Fresh {
		var err error
		if present, err = i.holdings.Has(i.ctx, e); err != nil {
			return err
		}
	}
	if !present {
		// An append that began is finished, within the time of a commit: every stored event
		// is counted.
		stored, err := i.log.Append(context.WithoutCancel(i.ctx), e)
		if err != nil {
			return err
		}
		i.holdings.Add(e)
		present = stored.Duplicate
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if present {
		i.counts.Present++
	} else {
		i.counts.Stored++
	}
	return nil
}

// Counts returns the outcomes so far.
func (i *Ingest) Counts() Counts {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts
}

// Wait blocks until all events are stored, and returns the first error.
func (i *Ingest) Wait() error {
	defer i.fail(nil)
	return i.all.Wait()
}
