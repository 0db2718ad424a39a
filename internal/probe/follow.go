package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
)

// errNotYet means that the wait ended without a failure.
var errNotYet = errors.New("not in time")

// follow waits until the probe is stored after a sequence, and then until it is settled.
func (p *Probe) follow(ctx context.Context, r *Result, after uint64) {
	began := time.Now()
	look, cancel := context.WithTimeout(ctx, storedTimeout)
	defer cancel()
	err := poll(look, func() (bool, error) {
		m, err := p.Log.FindProbe(look, r.SvixID, after)
		if errors.Is(err, eventlog.ErrNotFound) {
			return false, nil
		}
		if err == nil {
			r.Seq = m.Seq
		}
		return err == nil, err
	})
	if errors.Is(err, errNotYet) {
		r.stop(AtNotStored, fmt.Sprintf("it was acknowledged, but is not in this event log after %s", waited(began)),
			"make sure that NATS_URL is the same here and there, and that clerksync there is not older: it ignores types that it does not know")
		return
	}
	var state eventlog.State
	if err == nil {
		err = poll(ctx, func() (bool, error) {
			now, err := p.Log.State(ctx)
			if err == nil {
				state = now
			}
			return err == nil && state.AppliedThrough >= r.Seq, err
		})
	}
	switch {
	case errors.Is(err, errNotYet):
		p.explainWait(r, state, waited(began))
	case err != nil:
		r.stop(AtLog, fmt.Sprintf("it was acknowledged, but then the event log could not be read: %v", err), fixLog)
	}
}

func waited(since time.Time) time.Duration { return time.Since(since).Round(100 * time.Millisecond) }

// explainWait explains why a stored probe is not settled.
func (p *Probe) explainWait(r *Result, state eventlog.State, wait time.Duration) {
	stored := fmt.Sprintf("it is stored as %d, but not settled after %s: ", r.Seq, wait)
	workers, err := p.Workers()
	var failing *lag.Worker
	for i := range workers {
		if workers[i].Failing != nil {
			failing = &workers[i]
		}
	}
	switch {
	case err != nil:
		r.stop(AtNotApplied, stored+"the workers could not be reached", "run clerksync doctor")
	case len(workers) == 0:
		r.stop(AtNotApplied, stored+"no worker answers", "start one: clerksync serve --role worker")
	case failing != nil:
		r.stop(AtNotApplied, fmt.Sprintf("%sthe worker %s has applied nothing since %s: %s",
			stored, failing.Name, failing.Failing.Since.UTC().Format(time.RFC3339), failing.Failing.Reason),
			"check PostgreSQL; the worker retries without end and recovers by itself")
	default:
		r.stop(AtNotApplied, fmt.Sprintf("%sthe workers are busy; events before it that are not applied yet: up to %d", stored, r.Seq-1-state.AppliedThrough),
			"wait, or run more workers; clerksync lag shows the rate")
	}
}

// poll calls ask at growing intervals until it returns true or ctx ends. It retries
// failures; its error is the last one, or errNotYet.
func poll(ctx context.Context, ask func() (bool, error)) error {
	last := errNotYet
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		ok, err := ask()
		if ok {
			return nil
		}
		if ctx.Err() == nil { // otherwise ctx is the cause
			if last = err; err == nil {
				last = errNotYet
			}
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(pause):
		}
	}
}
