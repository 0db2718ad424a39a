package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/alert"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/directory"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/erasure"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/tail"
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

// makeMeter makes the meter of the lag.
func (a *App) makeMeter(context.Context) (stopFunc, error) {
	a.meter = lag.NewMeter(a.log, a.store, a.o.Roles.Has(config.RoleWorker), a.logger("lag"))
	a.measured = prometheus.NewRegistry()
	a.meter.Register(a.measured)
	return nil, nil
}

// startWatch starts measuring the lag, and answers roll calls.
func (a *App) startWatch(context.Context) (stopFunc, error) {
	a.watch = lag.NewWatch(a.meter, a.registry)
	leave, err := a.attend()
	if err != nil {
		return nil, err
	}
	a.watch.Start() // now, so that its first reading finds this process
	return func(ctx context.Context) error {
		defer leave()
		return a.watch.Stop(ctx)
	}, nil
}

// startAlerts starts sending alerts, if a URL is configured.
func (a *App) startAlerts(context.Context) (stopFunc, error) {
	c := a.o.Config
	if c.AlertURL == "" {
		return nil, nil
	}
	sender, err := alert.NewSender(c.AlertURL.Reveal(), c.AlertSecret.Reveal())
	if err != nil {
		return nil, fmt.Errorf("CLERKSYNC_ALERT_SECRET: %w", err)
	}
	n := alert.New(alert.Options{Sender: sender, Latest: a.watch.Latest, Registry: a.registry, Logger: a.logger("alerts")})
	n.Start()
	return n.Stop, nil
}

// startFeed publishes the outcome of each event while clerksync tail follows.
func (a *App) startFeed(context.Context) (_ stopFunc, err error) {
	if a.feed, err = tail.NewFeed(a.nc); err != nil {
		return nil, err
	}
	return func(context.Context) error { a.feed.Close(); return nil }, nil
}

// makeProjector makes the projector, which starts when the tables are there.
func (a *App) makeProjector(context.Context) (stopFunc, error) {
	c := a.o.Config
	a.projector = projector.New(projector.Options{
		Log: a.log, Apply: a.store.Apply, Appliers: c.Appliers, Batch: c.Batch,
		Registry: a.registry, Tracer: a.tracer, Logger: a.logger("projector"), Settled: a.feed.Settled,
	})
	a.check("projector", false, func(context.Context) string {
		if _, err := a.projector.Failing(); err != nil {
			return store.Outage(err)
		}
		return ""
	})
	return a.projector.Stop, nil
}

// makeSweeper makes the sweeper, which starts when the tables are there.
func (a *App) makeSweeper(context.Context) (stopFunc, error) {
	a.sweeper = erasure.NewSweeper(erasure.Eraser{Log: a.log, Store: a.store}, a.o.Config.EraseAfter, a.registry, a.logger("sweeper"))
	return a.sweeper.Stop, nil
}

// makeRetention makes the retention, which starts when the tables are there.
func (a *App) makeRetention(context.Context) (stopFunc, error) {
	age, logger := a.o.Config.MaxAge, a.logger("retention")
	if warning := config.ShortAge(age); warning != "" {
		logger.Warn(warning)
	}
	a.retention = erasure.NewRetention(a.log, a.store, age, a.registry, logger)
	return a.retention.Stop, nil
}

// makeReconcile makes the scheduled reconcile, which starts when the tables are there.
func (a *App) makeReconcile(context.Context) (stopFunc, error) {
	c := a.o.Config
	if c.ReconcileEvery == 0 {
		return nil, nil
	}
	a.reconcile = source.NewSchedule(source.ScheduleOptions{
		SecretKey: c.SecretKey.Reveal(), URL: c.APIURL, InstanceID: c.InstanceID, Every: c.ReconcileEvery,
		Log: a.log, Store: a.store, Registry: a.registry, Logger: a.logger("reconcile"),
	})
	return a.reconcile.Stop, nil
}

// attend answers roll calls.
func (a *App) attend() (leave func(), err error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name, started := fmt.Sprintf("%s:%d", host, os.Getpid()), time.Now().UTC()
	return lag.Attend(a.log, func() (p lag.Process) {
		if a.projector != nil {
			p.Worker = a.reportWorker(name, started)
		}
		if a.receiver != nil {
			p.Receiver = a.reportReceiver(name, started)
		}
		return p
	})
}

func (a *App) reportWorker(name string, started time.Time) *lag.Worker {
	w := &lag.Worker{Name: name, Version: a.o.Version, StartedAt: started, Applied: a.projector.Settled()}
	w.Appliers, w.Busy = a.projector.Appliers()
	if since, err := a.projector.Failing(); err != nil {
		w.Failing = failure(err, since)
	}
	w.Outage = a.database.waiting.Load()
	r := a.watch.Latest()
	if r != nil {
		w.Lost = r.Lost
	}
	if w.Outage == nil && r != nil && !r.PostgreSQL.OK {
		w.Outage = &lag.Failure{Reason: r.PostgreSQL.Error, Cause: r.PostgreSQL.Cause, Since: *r.PostgreSQL.Since}
	}
	return w
}

// failure describes why a worker cannot work.
func failure(err error, since time.Time) *lag.Failure {
	if errors.Is(err, eventlog.ErrUnavailable) {
		return &lag.Failure{Reason: "the event log cannot be read", Cause: lag.CauseEventLog, Since: since.UTC()}
	}
	return &lag.Failure{Reason: store.Outage(err), Cause: lag.CauseOf(err), Since: since.UTC()}
}

func (a *App) reportReceiver(name string, started time.Time) *lag.Receiver {
	c := a.o.Config
	r := &lag.Receiver{Name: name, Version: a.o.Version, StartedAt: started, InstanceID: c.InstanceID}
	if c.SilentAfter != 0 {
		r.SilentAfter = new(c.SilentAfter.Seconds())
	}
	if refused := a.receiver.Refused(); refused != nil {
		r.Refused = &lag.Refused{
			Count: refused.Count, Reason: refused.Reason, Fix: receiver.Fix(refused.Reason), Since: refused.Since.UTC(), LastAt: refused.LastAt.UTC(), ClockOff: refused.ClockOff.Seconds(),
		}
	}
	if a.server != nil {
		if free, ok := a.server.Free(); ok {
			r.Disk = &lag.Disk{Free: free, Reserve: embeddednats.Reserve}
		}
	}
	if a.prober != nil {
		r.Probe = a.prober.Last()
	}
	return r
}

// makeReceiver makes the webhook endpoint.
func (a *App) makeReceiver(context.Context) (_ stopFunc, err error) {
	c := a.o.Config
	a.receiver, err = receiver.New(receiver.Options{
		Secrets:    reveal(c.SigningSecrets),
		InstanceID: c.InstanceID,
		Store:      c.StoreEvents,
		Log:        a.log,
		Registry:   a.registry,
		Tracer:     a.tracer,
		Logger:     a.logger("receiver"),
		Answered:   a.feed.Answered,
	})
	return nil, err
}

// listenPublic opens the public listener.
func (a *App) listenPublic(context.Context) (stopFunc, error) {
	part := "receiver"
	if a.receiver == nil {
		part = "directory API"
	}
	addr, stop, err := a.listen(part, a.o.Config.Receiver.Addr, "CLERKSYNC_ADDR", publicServer(a.public()))
	if err != nil {
		return nil, err
	}
	base := "http://" + Reachable(addr.String())
	if a.receiver != nil {
		a.Endpoint = base + clerk.WebhookPath
	}
	if a.directory != nil {
		a.APIURL = base + "/api"
	}
	return stop, nil
}

// public returns the handler of the public listener. It is no ServeMux, which redirects
// unclean paths: Svix treats a redirect as a failure.
func (a *App) public() http.Handler {
	api := http.HandlerFunc(directory.Off)
	if a.directory != nil {
		api = a.directory.ServeHTTP
	}
	if a.receiver == nil {
		return api
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if forAPI(r) {
			api(w, r)
			return
		}
		a.receiver.ServeHTTP(w, r)
	})
}

// forAPI reports whether a request is for the directory API, or for a path that it does not
// have.
func forAPI(r *http.Request) bool {
	path := r.URL.Path
	return directory.Serves(path) || strings.HasPrefix(path, directory.Prefix) && !receiver.Takes(r)
}

// startProber starts sending probes through the public URL, if one is configured. The
// first comes after one interval.
func (a *App) startProber(context.Context) (stopFunc, error) {
	c := a.o.Config
	if c.ProbeURL == "" {
		return nil, nil
	}
	a.prober = probe.New(probe.Options{
		Probe: probe.Probe{
			URL: c.ProbeURL, Secret: c.SigningSecrets[0].Reveal(), Log: a.log,
			Workers: func() ([]lag.Worker, error) { return lag.Workers(a.log) },
		},
		Every: c.ProbeEvery, Registry: a.registry, Logger: a.logger("probe"),
	})
	a.prober.Start()
	return a.prober.Stop, nil
}
