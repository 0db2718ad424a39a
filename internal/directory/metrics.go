package directory

import (
	"log/slog"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// codeOK counts answers that are a success, and codeCanceled those that the client did not
// wait for.
const (
	codeOK       = "ok"
	codeCanceled = "canceled"
)

type instruments struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	pulls    *prometheus.CounterVec
}

func newInstruments(registry prometheus.Registerer) *instruments {
	f := promauto.With(registry)
	m := &instruments{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_api_requests_total",
			Help: "Requests to the directory API, by route and by the code of the answer.",
		}, []string{"route", "code"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "clerksync_api_request_duration_seconds",
			Help:    "Time from the head of a request to the directory API to its answer, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"route"}),
		pulls: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_api_pulls_total",
			Help: "Users that the directory API asked Clerk for, by result.",
		}, []string{"result"}),
	}
	for _, e := range endpoints {
		m.requests.WithLabelValues(e.name, codeOK)
		m.duration.WithLabelValues(e.name)
	}
	for _, result := range []string{resultPulled, resultUnknown, resultLate, resultFailed} {
		m.pulls.WithLabelValues(result)
	}
	return m
}

// streak logs the first failure of a row of them, and its end.
type streak struct{ failing atomic.Bool }

func (s *streak) begin(logger *slog.Logger, text string, why ...any) {
	if !s.failing.Swap(true) {
		logger.Warn(text, why...)
	}
}

func (s *streak) end(logger *slog.Logger, text string) {
	if s.failing.Load() && s.failing.Swap(false) {
		logger.Info(text)
	}
}
