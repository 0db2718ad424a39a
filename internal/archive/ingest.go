package archive

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
)

// inFlight limits the events that an [Ingest] stores concurrently; they share a group commit.
const inFlight = 256

// Counts counts the events of an [Ingest] by outcome.
type Counts struct {
	Stored  uint64 `json:"stored"`
	Present uint64 `json:"present"` // in the log already
}

// Ingest stores events that no webhook delivered: many concurrently, and only those that
// the log does not hold yet, by svix-id.
type Ingest struct {
	log      *eventlog.Log
	holdings *eventlog.Holdings
	all      *errgroup.Group
	ctx      context.Context // of the group

	mu     sync.Mutex
	counts Counts
}

// NewIngest prepares the log for events of the given types.
func NewIngest(ctx context.Context, log *eventlog.Log, types []string) (*Ingest, error) {
	if err := log.Admit(ctx, types); err != nil {
		return nil, err
	}
	i := &Ingest{log: log, holdings: log.Holdings()}
	i.all, i.ctx = errgroup.WithContext(ctx)
	i.all.SetLimit(inFlight)
	return i, nil
}

// Add begins to store an event unless the log holds it. It blocks while too many are in
// flight. Its error means that the ingest has failed; [Ingest.Wait] returns the cause.
func (i *Ingest) Add(e *clerk.Event) error {
	if err := i.ctx.Err(); err != nil {
		return err
	}
	i.all.Go(func() error { return i.store(e) })
	return nil
}

func (i *Ingest) store(e *clerk.Event) error {
	present, err := i.holdings.Has(i.ctx, e)
	if err != nil {
		return err
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
func (i *Ingest) Wait() error { return i.all.Wait() }
