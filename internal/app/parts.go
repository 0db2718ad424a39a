package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/erasure"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/tracing"
)

// startTracing creates the tracer, if traces are configured.
func (a *App) startTracing(ctx context.Context) (stopFunc, error) {
	url := a.o.Config.TracesURL()
	if url == "" {
		return nil, nil
	}
	provider, err := tracing.Start(ctx, tracing.Options{URL: url, Version: a.o.Version, Logger: a.logger("tracing")})
	if err != nil {
		return nil, err
	}
	a.tracer = tracing.New(provider)
	return provider.Stop, nil
}

// startWatch starts measuring the lag.
func (a *App) startWatch(context.Context) (stopFunc, error) {
	a.meter = lag.NewMeter(a.log, a.store, a.o.Roles.Has(config.RoleWorker), a.logger("lag"))
	a.measured = prometheus.NewRegistry()
	a.meter.Register(a.measured)
	a.watch = lag.NewWatch(a.meter, a.registry)
	a.watch.Start()
	return a.watch.Stop, nil
}

func (a *App) startProjector(context.Context) (stopFunc, error) {
	c := a.o.Config
	a.projector = projector.New(projector.Options{
		Log: a.log, Apply: a.store.Apply, Appliers: c.Appliers, Batch: c.Batch,
		Registry: a.registry, Tracer: a.tracer, Logger: a.logger("projector"),
	})
	a.projector.Start()
	a.check("projector", false, func(context.Context) error {
		_, err := a.projector.Failing()
		return err
	})
	return a.projector.Stop, nil
}

// attend answers roll calls for the worker of this process.
func (a *App) attend(context.Context) (stopFunc, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	self := lag.Worker{Name: fmt.Sprintf("%s:%d", host, os.Getpid()), Version: a.o.Version, StartedAt: time.Now().UTC()}
	stop, err := lag.Attend(a.log, func() lag.Worker {
		w := self
		w.Appliers, w.Busy = a.projector.Appliers()
		w.Applied = a.projector.Settled()
		if since, err := a.projector.Failing(); err != nil {
			w.Failing = &lag.Failure{Reason: store.Outage(err), Since: since.UTC()}
		}
		if r := a.watch.Latest(); r != nil && !r.PostgreSQL.OK {
			w.Outage = &lag.Failure{Reason: r.PostgreSQL.Error, Since: *r.PostgreSQL.Since}
		}
		return w
	})
	if err != nil {
		return nil, err
	}
	return func(context.Context) error { stop(); return nil }, nil
}

func (a *App) startSweeper(context.Context) (stopFunc, error) {
	s := erasure.NewSweeper(erasure.Eraser{Log: a.log, Store: a.store}, a.o.Config.EraseAfter, a.registry, a.logger("sweeper"))
	s.Start()
	return s.Stop, nil
}

// startReceiver opens the public listener.
func (a *App) startReceiver(context.Context) (stopFunc, error) {
	c := a.o.Config
	r, err := receiver.New(receiver.Options{
		Secrets:    reveal(c.SigningSecrets),
		InstanceID: c.InstanceID,
		Store:      c.StoreEvents,
		Log:        a.log,
		Registry:   a.registry,
		Tracer:     a.tracer,
		Logger:     a.logger("receiver"),
	})
	if err != nil {
		return nil, err
	}
	addr, stop, err := a.listen("receiver", c.Receiver.Addr, "CLERKSYNC_ADDR", publicServer(r))
	if err != nil {
		return nil, err
	}
	a.Endpoint = "http://" + reachable(addr) + clerk.WebhookPath
	return stop, nil
}

// startProber starts sending probes through the public URL, if one is configured.
func (a *App) startProber(context.Context) (stopFunc, error) {
	c := a.o.Config
	if c.ProbeURL == "" {
		return nil, nil
	}
	p := probe.New(probe.Options{
		Probe: probe.Probe{
			URL: c.ProbeURL, Secret: c.SigningSecrets[0].Reveal(), Log: a.log,
			Workers: func() ([]lag.Worker, error) { return lag.Workers(a.log) },
		},
		Every: c.ProbeEvery, Registry: a.registry, Logger: a.logger("probe"),
	})
	p.Start()
	return p.Stop, nil
}
