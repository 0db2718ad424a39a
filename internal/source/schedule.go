package source

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/clerksync/clerksync/internal/background"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

const (
	// firstReconcile is the time from the start to the first run. A process that starts
	// again and again does not read everything each time.
	firstReconcile = 5 * time.Minute

	// scheduleShare is the part of the rate limit that a scheduled run uses: the
	// application's requests go on.
	scheduleShare = 2
)

// ScheduleOptions configure a [Schedule].
type ScheduleOptions struct {
	SecretKey  string
	URL        string // see [Options]
	InstanceID string // the instance that the key has to be of; "" for that of the tables
	Every      time.Duration

	Log      *eventlog.Log
	Store    *store.Store
	Registry prometheus.Registerer
	Logger   *slog.Logger
}

// Schedule compares the tables with Clerk periodically, and repairs what differs. Of
// several processes with one, a single one does it.
type Schedule struct {
	o           ScheduleOptions
	client      *Client
	lock        *store.ReconcileLock
	repairs     *prometheus.CounterVec
	runs        *prometheus.CounterVec
	failures    prometheus.Gauge
	lastSuccess *prometheus.GaugeVec // without labels; a vector is missing until it is set
	loop        background.Loop

	limits limits
}

// NewSchedule makes a schedule.
func NewSchedule(o ScheduleOptions) *Schedule {
	f := promauto.With(o.Registry)
	s := &Schedule{
		o: o, lock: o.Store.ReconcileLock(), limits: limits{settleTime, repairTimeout},
		client: NewClient(Options{SecretKey: o.SecretKey, URL: o.URL, Rate: RateOf(o.SecretKey) / scheduleShare}),
		repairs: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_reconcile_repairs_total",
			Help: "Entities that differed between Clerk and the tables and were repaired: each is a webhook that was lost.",
		}, []string{"kind", "difference"}),
		runs: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_reconcile_runs_total",
			Help: "Scheduled comparisons of the tables with Clerk.",
		}, []string{"result"}),
		failures: f.NewGauge(prometheus.GaugeOpts{
			Name: "clerksync_reconcile_failures",
			Help: "How many of the last scheduled comparisons failed in a row; 0 in a process that does not compare now.",
		}),
		lastSuccess: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "clerksync_reconcile_last_success_timestamp_seconds",
			Help: "End of the last scheduled comparison that finished, of this process.",
		}, nil),
	}
	for _, kind := range clerk.Kinds() {
		gone := Deleted
		if kind == clerk.KindMembership {
			gone = Extra
		}
		for _, name := range []DifferenceName{Missing, Outdated, gone} {
			s.repairs.WithLabelValues(string(kind), string(name))
		}
	}
	for _, result := range []string{"finished", "failed"} {
		s.runs.WithLabelValues(result)
	}
	return s
}

// Start begins to run and returns.
func (s *Schedule) Start() { s.loop.Start(min(firstReconcile, s.o.Every), s.o.Every, s.run) }

// Stop stops the schedule, and a run in progress. It can be called again, and before Start.
func (s *Schedule) Stop(ctx context.Context) error {
	if err := s.loop.Stop(ctx); err != nil {
		return err
	}
	s.client.Close()
	return s.lock.Close()
}

// run compares once, if this is the process that does it.
func (s *Schedule) run(ctx context.Context) {
	mine, err := s.lock.Take(ctx)
	if err == nil && !mine {
		s.failures.Set(0)
		return
	}
	var report ReconcileReport
	if err == nil {
		r := NewReconciler(ReconcileOptions{
			Client: s.client, Log: s.o.Log, Store: s.o.Store, InstanceID: s.o.InstanceID, Logger: s.o.Logger, Fix: true,
			Found: func(d *Difference) {
				if d.Fixed {
					s.repairs.WithLabelValues(string(d.Kind), string(d.Name)).Inc()
				}
			},
		})
		r.limits = s.limits
		err = r.Run(ctx)
		report = r.Report()
	}
	if ctx.Err() != nil {
		return
	}
	if fixed := report.Fixed.Sum(); fixed > 0 {
		s.o.Logger.Warn("the tables differed from Clerk and were repaired: webhooks were lost", "entities", fixed)
	}
	if n := report.Tombstoned.Sum(); n > 0 {
		s.o.Logger.Warn("entities are at Clerk and deleted here: clerksync reconcile lists them", "entities", n)
	}
	if err != nil {
		s.runs.WithLabelValues("failed").Inc()
		s.failures.Inc()
		s.o.Logger.Warn("the tables were not compared with Clerk, trying again", "err", err, "delay", s.o.Every)
		return
	}
	s.runs.WithLabelValues("finished").Inc()
	s.failures.Set(0)
	s.lastSuccess.WithLabelValues().SetToCurrentTime()
}
