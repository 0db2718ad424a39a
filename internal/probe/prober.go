package probe

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/clerksync/clerksync/internal/background"
	"github.com/clerksync/clerksync/internal/lag"
)

// Options configure a [Prober].
type Options struct {
	Probe    Probe
	Every    time.Duration
	Registry prometheus.Registerer
	Logger   *slog.Logger
}

// Prober sends probes on a schedule, for the metrics and the log.
type Prober struct {
	probe   Probe
	every   time.Duration
	logger  *slog.Logger
	metrics *metrics
	last    atomic.Pointer[lag.Probe]

	loop background.Loop
}

// Last returns the last result, nil before the first.
func (p *Prober) Last() *lag.Probe { return p.last.Load() }

// New returns a prober that has not started.
func New(o Options) *Prober {
	return &Prober{probe: o.Probe, every: o.Every, logger: o.Logger, metrics: newMetrics(o.Registry)}
}

// Start begins to probe and returns. The first probe comes after one interval: a proxy
// has to notice first that this process is there.
func (p *Prober) Start() {
	p.loop.Start(p.every, p.every, func(ctx context.Context) {
		if r := p.probe.Run(ctx); ctx.Err() == nil {
			p.note(r)
		}
	})
}

// Stop ends it, and the probe under way. It can be called again, and before Start.
func (p *Prober) Stop(ctx context.Context) error { return p.loop.Stop(ctx) }

// note counts a result, and logs when probes begin to fail and when they pass again.
func (p *Prober) note(r *Result) {
	p.metrics.observe(r)
	now := &lag.Probe{OK: r.OK, StoppedAt: string(r.StoppedAt), Cause: r.Cause, Fix: r.Fix, At: time.Now().UTC()}
	now.Since = now.At
	was := p.last.Load()
	if was != nil && was.OK == now.OK && was.StoppedAt == now.StoppedAt {
		now.Since = was.Since
	}
	p.last.Store(now)
	failed := was != nil && !was.OK
	switch {
	case !r.OK && !failed:
		p.logger.Warn("the probe fails", "url", r.URL, "stopped_at", r.StoppedAt, "cause", r.Cause, "fix", r.Fix)
	case r.OK && failed:
		p.logger.Info("the probe passes again", "url", r.URL, "seconds", *r.Times.Total)
	}
}

type metrics struct {
	probes      *prometheus.CounterVec
	duration    *prometheus.GaugeVec
	lastSuccess *prometheus.GaugeVec // without labels; a vector is missing until it is set
}

func newMetrics(registry prometheus.Registerer) *metrics {
	f := promauto.With(registry)
	m := &metrics{
		probes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_probes_total",
			Help: "Probes that were sent through the public URL, by result: ok, or the hop where it stopped.",
		}, []string{"result"}),
		duration: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "clerksync_probe_duration_seconds",
			Help: "Duration of the last probe that passed, by hop: receive, queue, total.",
		}, []string{"hop"}),
		lastSuccess: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "clerksync_probe_last_success_timestamp_seconds",
			Help: "When the last probe passed, in Unix seconds.",
		}, nil),
	}
	m.probes.WithLabelValues("ok")
	for _, hop := range Hops {
		m.probes.WithLabelValues(string(hop))
	}
	return m
}

func (m *metrics) observe(r *Result) {
	if !r.OK {
		m.probes.WithLabelValues(string(r.StoppedAt)).Inc()
		return
	}
	m.probes.WithLabelValues("ok").Inc()
	m.duration.WithLabelValues("receive").Set(*r.Times.Receive)
	m.duration.WithLabelValues("queue").Set(*r.Times.Queue)
	m.duration.WithLabelValues("total").Set(*r.Times.Total)
	m.lastSuccess.WithLabelValues().SetToCurrentTime()
}
