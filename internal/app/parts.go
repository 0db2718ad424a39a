package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/monitor"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/tombstone"
	"github.com/clerksync/clerksync/internal/tracing"
)

// startTracing makes the tracer, nil when nothing is traced.
func (a *App) startTracing(ctx context.Context, o Options) (*tracing.Tracer, error) {
	url := o.Config.TracesURL()
	if url == "" {
		return nil, nil
	}
	provider, err := tracing.Start(ctx, tracing.Options{URL: url, Version: o.Version, Logger: o.Logger.With("component", "tracing")})
	if err != nil {
		return nil, err
	}
	a.onStop("traces", provider.Stop)
	return tracing.New(provider), nil
}

func (a *App) startProjector(o Options, log *eventlog.Log, st *store.Store, registry prometheus.Registerer, tracer *tracing.Tracer) *projector.Projector {
	p := projector.New(projector.Options{
		Log: log, Apply: st.Apply, Appliers: o.Config.Appliers, Batch: o.Config.Batch,
		Registry: registry, Tracer: tracer, Logger: o.Logger.With("component", "projector"),
	})
	p.Start()
	a.onStop("projector", p.Stop)
	return p
}

// attend has the worker of this process answer those who ask how the workers are.
func attend(log *eventlog.Log, p *projector.Projector, watch *monitor.Watch, version string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	self := eventlog.Worker{Name: fmt.Sprintf("%s:%d", host, os.Getpid()), Version: version, StartedAt: time.Now().UTC()}
	return log.Attend(func() eventlog.Worker {
		w := self
		w.Appliers, w.Busy = p.Appliers()
		w.Applied = p.Settled()
		if since, err := p.Failing(); err != nil {
			w.Failing = &eventlog.Failure{Reason: store.Outage(err), Since: since.UTC()}
		}
		if r := watch.Latest(); r != nil && !r.PostgreSQL.OK {
			w.Outage = &eventlog.Failure{Reason: r.PostgreSQL.Error, Since: *r.PostgreSQL.Since}
		}
		return w
	})
}

func (a *App) startWatch(meter *monitor.Meter, gatherer prometheus.Gatherer) *monitor.Watch {
	w := monitor.NewWatch(meter, gatherer)
	w.Start()
	a.onStop("watch of the lag", w.Stop)
	return w
}

// startProber sends probes through the public URL.
func (a *App) startProber(o Options, log *eventlog.Log, registry prometheus.Registerer) {
	p := probe.New(probe.Options{
		Probe: probe.Probe{URL: o.Config.ProbeURL, Secret: o.Config.SigningSecrets[0].Reveal(), Log: log},
		Every: o.Config.ProbeEvery, Registry: registry, Logger: o.Logger.With("component", "probe"),
	})
	p.Start()
	a.onStop("prober", p.Stop)
}

func (a *App) startSweeper(o Options, log *eventlog.Log, st *store.Store, registry prometheus.Registerer) {
	sweeper := tombstone.NewSweeper(tombstone.Eraser{Log: log, Store: st}, o.Config.EraseAfter, registry, o.Logger.With("component", "sweeper"))
	sweeper.Start()
	a.onStop("sweeper", sweeper.Stop)
}
