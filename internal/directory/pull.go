package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/source"
)

const (
	// pullTimeout is how long a request waits for a pull: two requests to Clerk, and some
	// milliseconds for a worker. The pull itself goes on, for the next request.
	pullTimeout = 2 * time.Second

	// missingFor is how long Clerk is not asked again for what it does not have. A session
	// token lives for a minute.
	missingFor = time.Minute

	// maxMissing bounds what is remembered to be missing.
	maxMissing = 10_000
)

// pulls fetches users from Clerk whose webhook has not come yet.
type pulls struct {
	pull   func(ctx context.Context, userID string) error // nil: there is no access to Clerk
	total  *prometheus.CounterVec
	logger *slog.Logger
	fails  streak

	mu      sync.Mutex
	missing map[place]absence
}

// place is a user, or the place of one in an organization.
type place struct{ user, org string }

// absence is the answer for what Clerk does not have.
type absence struct {
	problem *problem
	until   time.Time
}

// The results of pulls.
const (
	resultPulled  = "pulled"
	resultUnknown = "unknown" // to Clerk
	resultLate    = "late"
	resultFailed  = "failed"
)

// fetch pulls the user of a place. It returns nil when the rows are to be read again, and
// otherwise the problem to answer with.
func (p *pulls) fetch(ctx context.Context, at place) error {
	if p.pull == nil {
		return errNotSynced
	}
	if absent := p.remembered(at); absent != nil {
		return absent
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	err := p.pull(ctx, at.user)
	switch {
	case err == nil:
		p.total.WithLabelValues(resultPulled).Inc()
		p.fails.end(p.logger, "users are pulled from Clerk again")
		return nil
	case errors.Is(err, source.ErrUnknown):
		p.total.WithLabelValues(resultUnknown).Inc()
		p.remember(place{user: at.user}, errUserUnknown)
		return errUserUnknown
	case ctx.Err() != nil, errors.Is(err, source.ErrNotApplied):
		p.total.WithLabelValues(resultLate).Inc()
	default:
		p.total.WithLabelValues(resultFailed).Inc()
		p.fails.begin(p.logger, "a user whose webhook has not come cannot be pulled from Clerk", "err", reason(err))
	}
	return errNotSynced
}

// reason describes why a pull failed. The error itself may name the user.
func reason(err error) string {
	answer, answered := errors.AsType[*source.APIError](err)
	strangers, other := errors.AsType[*source.StrangersError](err)
	switch {
	case other:
		return strangers.Error()
	case errors.Is(err, source.ErrBusy), errors.Is(err, source.ErrKey), errors.Is(err, source.ErrInstance):
		return err.Error()
	case answered:
		return fmt.Sprintf("Clerk answers with %d %s", answer.Status, answer.Code)
	}
	return "Clerk does not answer, or the event log takes no events; clerksync doctor tells which"
}

// remember keeps that Clerk does not have something.
func (p *pulls) remember(at place, answer *problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.missing == nil || len(p.missing) >= maxMissing {
		p.missing = map[place]absence{}
	}
	p.missing[at] = absence{answer, time.Now().Add(missingFor)}
}

// remembered returns the answer for a place that Clerk is known not to have, or nil.
func (p *pulls) remembered(at place) *problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range []place{{user: at.user}, at} {
		if absent, ok := p.missing[key]; ok && time.Now().Before(absent.until) {
			return absent.problem
		}
	}
	return nil
}
