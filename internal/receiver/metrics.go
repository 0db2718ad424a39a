package receiver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/metrics"
	"github.com/clerksync/clerksync/internal/signing"
)

type instruments struct {
	received      *prometheus.CounterVec
	refused       *prometheus.CounterVec
	dead          *prometheus.CounterVec
	duration      prometheus.Histogram
	lag           metrics.Histogram
	disagreements prometheus.Counter
}

// disagreement is how long before its emission an event may be received. Clocks kept by
// NTP differ by less.
const disagreement = time.Second

func newInstruments(registry prometheus.Registerer) *instruments {
	f := promauto.With(registry)
	m := &instruments{
		received: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_received_total",
			Help: "Deliveries to the webhook endpoint, by what they were answered for.",
		}, []string{"outcome"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_refused_total",
			Help: "Deliveries to the webhook endpoint that were not taken, by reason.",
		}, []string{"reason"}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_receiver_dead_letters_total",
			Help: "Verified deliveries that can never be applied and were parked on arrival, by reason.",
		}, []string{"reason"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "clerksync_receive_duration_seconds",
			Help:    "Time from the head of a request to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}),
		lag: metrics.NewHistogram(registry, "clerksync_delivery_lag_seconds",
			"Time from Clerk emitting an event until it was received."),
		disagreements: f.NewCounter(prometheus.CounterOpts{
			Name: "clerksync_clock_disagreements_total",
			Help: "Events that were received more than a second before they were emitted: the clocks disagree.",
		}),
	}
	for _, outcome := range Outcomes() {
		m.received.WithLabelValues(outcome)
	}
	for _, reason := range signing.Reasons {
		m.refused.WithLabelValues(reason)
	}
	for _, a := range others {
		m.refused.WithLabelValues(a.refused)
	}
	return m
}

// observe measures the delivery lag of a stored event.
func (m *instruments) observe(e *clerk.Event) {
	if e.Envelope.EventAt == 0 { // unknown
		return
	}
	emitted := time.UnixMilli(e.Envelope.EventAt)
	if emitted.Sub(e.ReceivedAt) > disagreement {
		m.disagreements.Inc()
	}
	m.lag.Observe(emitted, e.ReceivedAt)
}
