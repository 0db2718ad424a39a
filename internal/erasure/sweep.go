package erasure

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/clerksync/clerksync/internal/background"
	"github.com/clerksync/clerksync/internal/store"
)

const (
	// sweepInterval is the time between two sweeps. One costs a lookup in an index that is
	// usually empty.
	sweepInterval = 15 * time.Second

	// sweepBatch bounds the users of one query.
	sweepBatch = 100

	// maxFailures ends a sweep: so many failures are not due to single users.
	maxFailures = 3
)

// Sweeper erases users some time after their delete. Several processes may run one.
type Sweeper struct {
	eraser  Eraser
	after   time.Duration
	logger  *slog.Logger
	metrics sweeperMetrics

	loop background.Loop

	testOnlyInterval time.Duration // instead of sweepInterval
}

type sweeperMetrics struct {
	users    prometheus.Counter
	events   prometheus.Counter
	failures prometheus.Counter
}

// NewSweeper makes a sweeper of users whose delete was applied longer than after ago.
func NewSweeper(e Eraser, after time.Duration, registry prometheus.Registerer, logger *slog.Logger) *Sweeper {
	f := promauto.With(registry)
	return &Sweeper{eraser: e, after: after, logger: logger, metrics: sweeperMetrics{
		users: f.NewCounter(prometheus.CounterOpts{
			Name: "clerksync_erased_users_total",
			Help: "Deleted users whose events were removed from the event log and the dead letters.",
		}),
		events: f.NewCounter(prometheus.CounterOpts{
			Name: "clerksync_erased_events_total",
			Help: "Events and dead letters that were removed because they name a deleted user.",
		}),
		failures: f.NewCounter(prometheus.CounterOpts{
			Name: "clerksync_erase_failures_total",
			Help: "Attempts to erase deleted users that failed and are repeated.",
		}),
	}}
}

// Start begins to sweep and returns.
func (s *Sweeper) Start() {
	interval := sweepInterval
	if s.testOnlyInterval != 0 {
		interval = s.testOnlyInterval
	}
	s.loop.Start(0, interval, func(ctx context.Context) {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.metrics.failures.Inc()
			s.logger.Warn("deleted users were not erased, trying again", "err", err, "delay", interval)
		}
	})
}

// Stop stops the sweeper. An erasure in progress is finished after the next start. It can
// be called again, and before Start.
func (s *Sweeper) Stop(ctx context.Context) error { return s.loop.Stop(ctx) }

// sweep erases all users that are due. A failure does not delay the others.
func (s *Sweeper) sweep(ctx context.Context) error {
	for {
		due, err := s.eraser.Store.UsersToErase(ctx, time.Now().Add(-s.after), sweepBatch)
		if err != nil || len(due) == 0 {
			return err
		}
		var failed error
		users, removed, failures := 0, 0, 0
		for _, id := range due {
			// Not Erase, which would delete a user that was just restored.
			events, letters, err := s.eraser.purge(ctx, &Person{ID: id})
			s.metrics.events.Add(float64(events + letters))
			removed += events + letters
			switch {
			case err == nil:
				users++
				s.metrics.users.Inc()
			case errors.Is(err, store.ErrNotDeleted):
			case ctx.Err() != nil:
				return ctx.Err()
			default:
				if failures++; failures == maxFailures {
					return err
				}
				failed = err
			}
		}
		if users > 0 {
			s.logger.Info("deleted users were erased", "users", users, "events", removed)
		}
		if failed != nil {
			return failed
		}
	}
}
