package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/signing"
)

// Admission checks the events of an archive before they are stored.
type Admission struct {
	Verifier   *signing.Verifier // nil trusts the archive
	InstanceID string            // refuses events of another Clerk instance; "" takes all
}

// Admit checks a record and completes its event. Its errors quote nothing of the
// content.
func (a *Admission) Admit(record *Record) error {
	e := record.Event
	claimed := e.Envelope.Type
	if len(e.Body) > clerk.MaxBody {
		return errors.New("the body is over 1 MiB, which no endpoint has taken")
	}
	if !signing.ValidID(e.ID) {
		return errors.New("Svix-Id is not of the form that Svix sends")
	}
	var err error
	if e.Envelope, err = clerk.ParseEnvelope(e.Body); err == nil {
		err = e.Envelope.CheckIDs()
	}
	if err != nil {
		return fmt.Errorf("the body is not an event that can be stored: %w", err)
	}
	if a.Verifier != nil {
		if e.Signature == "" {
			return errors.New("the event has no signature: it did not come from Svix; --trust takes the files as they are")
		}
		if refused := a.Verifier.Verify(signing.Signature{ID: e.ID, Timestamp: e.Timestamp, Signature: e.Signature}, e.Body); refused != nil {
			return errors.New("the signature does not match: was the event received with this signing secret, and not changed since? --secret names another, --trust takes the files as they are")
		}
	}
	if claimed != e.Envelope.Type {
		return errors.New("the type is not that of the body: the line was changed")
	}
	if a.InstanceID != "" && e.Envelope.InstanceID != a.InstanceID {
		return errors.New("the event is of another Clerk instance than CLERK_INSTANCE_ID, or does not say of which; without CLERK_INSTANCE_ID it is taken")
	}
	e.Origin = clerk.OriginImport
	return nil
}

// inFlight is how many events an [Ingest] stores at once: so many share a commit.
const inFlight = 256

// Counts are the events of an [Ingest] by what became of them.
type Counts struct {
	Stored  uint64 `json:"stored"`
	Present uint64 `json:"present"` // in the log already
}

// Ingest stores events that did not come by a webhook: many at once, and only those that
// the log does not have yet, by their svix-ids.
type Ingest struct {
	log      *eventlog.Log
	holdings *eventlog.Holdings
	all      *errgroup.Group
	ctx      context.Context // of the group

	mu     sync.Mutex
	counts Counts
}

// NewIngest begins to store events of some types.
func NewIngest(ctx context.Context, log *eventlog.Log, types []string) (*Ingest, error) {
	if err := log.Admit(ctx, types); err != nil {
		return nil, err
	}
	i := &Ingest{log: log, holdings: log.Holdings()}
	i.all, i.ctx = errgroup.WithContext(ctx)
	i.all.SetLimit(inFlight)
	return i, nil
}

// Add stores an event unless the log has it, and waits only while too many are under
// way. Its error means that the ingest has failed; [Ingest.Wait] returns why.
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
		// An append that began is finished, within the time that a commit may take: all
		// that is stored is counted.
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

// Counts returns what became of the events so far.
func (i *Ingest) Counts() Counts {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.counts
}

// Wait returns when all events are stored, with the first error.
func (i *Ingest) Wait() error { return i.all.Wait() }
