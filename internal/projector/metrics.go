package projector

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/clerksync/clerksync/internal/metrics"
	"github.com/clerksync/clerksync/internal/store"
)

type instruments struct {
	applied       *prometheus.CounterVec
	dead          *prometheus.CounterVec
	redelivered   prometheus.Counter
	retries       prometheus.Counter
	batchSize     prometheus.Histogram
	applyDuration prometheus.Histogram
	queueLag      metrics.Histogram
	endToEndLag   metrics.Histogram
}

func newInstruments(registry prometheus.Registerer) *instruments {
	f := promauto.With(registry)
	m := &instruments{
		applied: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_applied_total",
			Help: "Events that the projector is done with, by what applying them did.",
		}, []string{"outcome"}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_dead_letters_total",
			Help: "Stored events that can never be applied and were parked by the projector, by reason.",
		}, []string{"reason"}),
		redelivered: f.NewCounter(prometheus.CounterOpts{
			Name: "clerksync_redelivered_total",
			Help: "Events that the log delivered to the projector more than once.",
		}),
		retries: f.NewCounter(prometheus.CounterOpts{
			Name: "clerksync_apply_retries_total",
			Help: "Attempts to apply a batch that failed and are repeated.",
		}),
		batchSize: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "clerksync_batch_size_events",
			Help:    "Events in a committed batch.",
			Buckets: []float64{1, 2, 5, 10, 25, 50, 100, 250, 500},
		}),
		applyDuration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "clerksync_apply_duration_seconds",
			Help:    "Time to apply a batch in PostgreSQL, commit included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}),
		queueLag: metrics.NewHistogram(registry, "clerksync_queue_lag_seconds",
			"Time from an event being stored in the log until it was applied."),
		endToEndLag: metrics.NewHistogram(registry, "clerksync_end_to_end_lag_seconds",
			"Time from Clerk emitting an event until its row was committed."),
	}
	for _, o := range store.Outcomes {
		m.applied.WithLabelValues(string(o))
	}
	return m
}

// registerState adds the gauges that are read at a scrape.
func (p *Projector) registerState(registry prometheus.Registerer) {
	f := promauto.With(registry)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "clerksync_appliers",
		Help: "Batches that can be applied at once.",
	}, func() float64 { return float64(p.appliers) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "clerksync_appliers_busy",
		Help: "Batches that are being applied.",
	}, func() float64 { return float64(p.busy.Load()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "clerksync_apply_failing",
		Help: "1 while PostgreSQL takes no batch.",
	}, func() float64 {
		if p.failing.Load() != nil {
			return 1
		}
		return 0
	})
}
