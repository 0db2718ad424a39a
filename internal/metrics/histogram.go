package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// buckets reach from a millisecond to the 28 hours for which Svix tries.
var buckets = []float64{
	.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 28 * 3600,
}

// Histogram is of one hop, in seconds.
type Histogram struct{ h prometheus.Histogram }

// NewHistogram makes a histogram with both kinds of buckets: the fixed ones that
// everybody can read, and native ones for those who scrape them.
func NewHistogram(registry prometheus.Registerer, name, help string) Histogram {
	return Histogram{promauto.With(registry).NewHistogram(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	})}
}

// Observe adds the time between two clocks. What is below 0, because they differ, is 0.
func (h Histogram) Observe(from, to time.Time) { h.h.Observe(max(to.Sub(from), 0).Seconds()) }
