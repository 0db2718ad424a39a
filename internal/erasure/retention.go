package erasure

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/clerksync/clerksync/internal/background"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/store"
)

// retentionInterval is the time between two calls of expire.
const retentionInterval = 5 * time.Minute

// Retention removes events from the log that are older than the log keeps and applied. An
// event that is not applied stays, however old. Several processes may run one; without any,
// nothing is removed.
type Retention struct {
	log     *eventlog.Log
	store   *store.Store
	age     time.Duration
	logger  *slog.Logger
	expired prometheus.Counter

	loop background.Loop

	testOnlyInterval time.Duration // instead of retentionInterval
}

// NewRetention makes a retention of events of an age.
func NewRetention(log *eventlog.Log, st *store.Store, age time.Duration, registry prometheus.Registerer, logger *slog.Logger) *Retention {
	return &Retention{log: log, store: st, age: age, logger: logger, expired: promauto.With(registry).NewCounter(prometheus.CounterOpts{
		Name: "clerksync_expired_events_total",
		Help: "Applied events that were removed from the event log because they were older than it keeps.",
	})}
}

// Start begins to remove events and returns.
func (r *Retention) Start() {
	interval := retentionInterval
	if r.testOnlyInterval != 0 {
		interval = r.testOnlyInterval
	}
	r.loop.Start(0, interval, func(ctx context.Context) {
		if err := r.expire(ctx); err != nil && ctx.Err() == nil {
			r.logger.Warn("old events were not removed, trying again", "err", err, "delay", interval)
		}
	})
}

// Stop stops it. It can be called again, and before Start.
func (r *Retention) Stop(ctx context.Context) error { return r.loop.Stop(ctx) }

// expire removes what is old and applied.
func (r *Retention) expire(ctx context.Context) error {
	b, err := r.log.Backlog(ctx)
	if err != nil {
		return err
	}
	// Recorded first, so that what is removed now never counts as lost.
	_, settled, err := lag.Observe(ctx, r.log, r.store, b)
	if err != nil {
		return err
	}
	n, err := r.log.Expire(ctx, time.Now().Add(-r.age), settled)
	r.expired.Add(float64(n))
	if n > 0 {
		r.logger.Info("old events were removed from the event log", "events", n)
	}
	return err
}
