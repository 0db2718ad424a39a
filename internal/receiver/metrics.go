package receiver

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	received *prometheus.CounterVec
	dead     *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) *metrics {
	f := promauto.With(registry)
	m := &metrics{
		received: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_received_total",
			Help: "Deliveries to the webhook endpoint, by what they were answered for.",
		}, []string{"outcome"}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_receiver_dead_letters_total",
			Help: "Verified deliveries that can never be applied and were parked on arrival, by reason.",
		}, []string{"reason"}),
		duration: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "clerksync_receive_duration_seconds",
			Help:    "Time from the head of a request to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}),
	}
	for _, a := range []answer{
		answerStored, answerDuplicate, answerIgnored, answerParked, answerMethod, answerTooLarge, answerBroken,
		answerBusy, answerNoLog,
		{outcome: "unauthorized"},
	} {
		m.received.WithLabelValues(a.outcome)
	}
	return m
}
