package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// buckets range from a millisecond to the 28 hours during which Svix retries.
var buckets = []float64{
	.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 28 * 3600,
}

// Histogram holds the lag of one hop, in seconds.
type Histogram struct{ h prometheus.Histogram }

// NewHistogram returns a histogram with classic buckets, which every server reads, and
// native ones.
func NewHistogram(registry prometheus.Registerer, name, help string) Histogram {
	return Histogram{promauto.With(registry).NewHistogram(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	})}
}

// Observe adds the time between two clocks. A negative time, from clocks that differ,
// counts as 0.
func (h Histogram) Observe(from, to time.Time) { h.h.Observe(max(to.Sub(from), 0).Seconds()) }
