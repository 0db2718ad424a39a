package erasure

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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

	// sweepWidth bounds the users that are erased at the same time.
	sweepWidth = 4

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
	interval := s.interval()
	s.loop.Start(0, interval, func(ctx context.Context) {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.metrics.failures.Inc()
			s.logger.Warn("deleted users were not erased, trying again", "err", err, "delay", interval)
		}
	})
}

func (s *Sweeper) interval() time.Duration {
	if s.testOnlyInterval != 0 {
		return s.testOnlyInterval
	}
	return sweepInterval
}

// Stop stops the sweeper. An erasure in progress is finished after the next start. It can
// be called again, and before Start.
func (s *Sweeper) Stop(ctx context.Context) error { return s.loop.Stop(ctx) }

// erased is how the erasure of one user ended.
type erased struct {
	id      string
	removed int
	err     error
}

// sweep erases all users that are due, a few at a time. A user with many events, or one
// whose erasure fails, does not delay the others.
func (s *Sweeper) sweep(ctx context.Context) (failure error) {
	var (
		waiting  []string
		running  = map[string]bool{}
		failed   = map[string]bool{}
		ended    = make(chan erased)
		stop     bool
		again    = time.NewTicker(s.interval())
		users    int
		messages int
	)
	defer again.Stop()
	for {
		if len(waiting) == 0 && !stop {
			due, err := s.eraser.Store.UsersToErase(ctx, time.Now().Add(-s.after), sweepBatch+len(running)+len(failed))
			if err != nil {
				failure, stop = err, true
			}
			waiting = slices.DeleteFunc(due, func(id string) bool { return running[id] || failed[id] })
		}
		for len(waiting) > 0 && len(running) < sweepWidth && !stop {
			id := waiting[0]
			waiting, running[id] = waiting[1:], true
			go func() {
				// Not Erase, which would delete a user that was just restored.
				events, letters, err := s.eraser.purge(ctx, &Person{ID: id})
				ended <- erased{id, events + letters, err}
			}()
		}
		if len(running) == 0 {
			break
		}
		select {
		case <-again.C: // others are due by now
		case e := <-ended:
			delete(running, e.id)
			messages += e.removed
			s.metrics.events.Add(float64(e.removed))
			switch {
			case e.err == nil:
				users++
				s.metrics.users.Inc()
			case errors.Is(e.err, store.ErrNotDeleted):
			default:
				failure, failed[e.id] = e.err, true
				stop = stop || ctx.Err() != nil || len(failed) == maxFailures
			}
		}
	}
	if users > 0 {
		s.logger.Info("deleted users were erased", "users", users, "events", messages)
	}
	return failure
}
