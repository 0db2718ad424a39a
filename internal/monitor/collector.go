package monitor

import (
	"context"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Log is what is asked of the event log at every scrape.
type Log interface {
	Pending(context.Context) (uint64, error)
	DeadLetters(context.Context) (uint64, error)
}

// NewRegistry makes a registry with what concerns the whole process.
func NewRegistry(version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	goVersion := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "clerksync_build_info",
		Help:        "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": goVersion},
	})
	build.Set(1)
	r.MustRegister(build)
	return r
}

// RegisterLog adds the state of the event log. It is read at the scrape: a gauge
// that somebody has to keep up to date says 0 when nobody does. When the log
// cannot be read, the gauges are missing and clerksync_event_log_up is 0.
func RegisterLog(r prometheus.Registerer, log Log) {
	r.MustRegister(&logCollector{
		log:     log,
		up:      prometheus.NewDesc("clerksync_event_log_up", "1 when the event log can be read.", nil, nil),
		pending: prometheus.NewDesc("clerksync_pending_events", "Events that are stored and not yet applied.", nil, nil),
		dead:    prometheus.NewDesc("clerksync_dead_letters", "Dead letters that are parked.", nil, nil),
	})
}

type logCollector struct {
	log               Log
	up, pending, dead *prometheus.Desc
}

func (c *logCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.up
	ch <- c.pending
	ch <- c.dead
}

func (c *logCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	up := 0.0
	pending, err := c.log.Pending(ctx)
	if err == nil {
		up = 1
		ch <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(pending))
		if dead, err := c.log.DeadLetters(ctx); err == nil {
			ch <- prometheus.MustNewConstMetric(c.dead, prometheus.GaugeValue, float64(dead))
		}
	}
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, up)
}
