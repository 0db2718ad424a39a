package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/dashboard"
	"github.com/clerksync/clerksync/internal/monitor"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/store"
)

// Options say what a process does, and with what.
type Options struct {
	Config  config.Config
	Roles   config.Roles
	Command string // dev or serve, for those who look for this process
	Version string
	Migrate bool     // apply pending migrations rather than refuse to start
	DataDir *DataDir // nil when nothing is stored on this machine: with a NATS server elsewhere
	Logger  *slog.Logger

	// AnnouncedSecret is written into the data folder, for clerksync send: only
	// one that was made for development is.
	AnnouncedSecret string
}

// App is a running clerksync.
type App struct {
	Endpoint string // URL of the webhook, "" without the receiver
	AdminURL string
	NATSURL  string

	logger *slog.Logger
	fatal  chan error
	stops  []stop // in the order of the start
}

// stop ends one part of the app.
type stop struct {
	part string
	f    func(context.Context) error
}

// stopTimeout bounds the stop of each part.
const stopTimeout = 15 * time.Second

// Start starts everything and returns when it is at work. When it fails, what it
// had started is stopped again.
func Start(ctx context.Context, o Options) (_ *App, err error) {
	a := &App{logger: o.Logger, fatal: make(chan error, 4)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop())
		}
	}()
	c := o.Config
	registry := monitor.NewRegistry(o.Version)
	var checks []monitor.Check

	tracer, err := a.startTracing(ctx, o) // first, to get the last spans when all has stopped
	if err != nil {
		return nil, err
	}
	var st *store.Store
	if o.Roles.Worker {
		if st, err = a.startStore(ctx, o); err != nil {
			return nil, err
		}
		checks = append(checks, monitor.Check{Name: "postgresql", Ready: st.Ping, Needed: !o.Roles.Receiver})
	}

	log, err := a.startLog(ctx, o)
	if err != nil {
		return nil, err
	}
	checks = append(checks, monitor.Check{Name: "event_log", Ready: log.Check, Needed: true})
	meter := monitor.NewMeter(log, st, o.Roles.Worker, o.Logger.With("component", "monitor"))
	measured := prometheus.NewRegistry() // apart: whoever gathers it has a reading taken
	meter.Register(measured)
	watch := a.startWatch(meter, registry)

	if o.Roles.Worker {
		p := a.startProjector(o, log, st, registry, tracer)
		if err := attend(log, p, watch, o.Version); err != nil {
			return nil, err
		}
		checks = append(checks, monitor.Check{Name: "projector", Ready: func(context.Context) error {
			_, err := p.Failing()
			return err
		}})
		a.startSweeper(o, log, st, registry)
	}
	if err := a.startAdmin(o, monitor.Options{Checks: checks, Meter: meter, Gatherer: prometheus.Gatherers{registry, measured}}, dashboard.Options{Watch: watch, Log: log, Store: st}); err != nil {
		return nil, err
	}
	if o.Roles.Receiver { // last: from here on events arrive
		r, err := receiver.New(receiver.Options{
			Secrets:    reveal(c.SigningSecrets),
			InstanceID: c.InstanceID,
			Store:      c.StoreEvents,
			Log:        log,
			Registry:   registry,
			Tracer:     tracer,
			Logger:     o.Logger.With("component", "receiver"),
		})
		if err != nil {
			return nil, err
		}
		addr, err := a.listen("receiver", c.Receiver.Addr, "CLERKSYNC_ADDR", publicServer(r))
		if err != nil {
			return nil, err
		}
		a.Endpoint = "http://" + reachable(addr) + receiver.Path
		if c.ProbeURL != "" {
			a.startProber(o, log, registry)
		}
	}
	if o.DataDir != nil {
		if err := o.DataDir.Announce(Running{
			Command: o.Command, Endpoint: a.Endpoint, SigningSecret: o.AnnouncedSecret, AdminURL: a.AdminURL,
			DatabaseURL: c.Database.URL.Reveal(), Schema: c.Schema, NATSURL: a.NATSURL, InstanceID: c.InstanceID,
		}); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Fatal delivers the error of a part that ended by itself.
func (a *App) Fatal() <-chan error { return a.fatal }

// Stop stops everything, in the reverse order of the start, and returns all that
// went wrong.
func (a *App) Stop() error {
	var errs []error
	for len(a.stops) > 0 {
		s := a.stops[len(a.stops)-1]
		a.stops = a.stops[:len(a.stops)-1]
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		if err := s.f(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.part, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

// endWith ends the app with an error that is delivered until it stops.
func (a *App) endWith(fatal <-chan error) {
	ctx, cancel := context.WithCancel(context.Background())
	a.onStop("watch", func(context.Context) error { cancel(); return nil })
	go func() {
		select {
		case err := <-fatal:
			a.fatal <- err
		case <-ctx.Done():
		}
	}()
}

func (a *App) onStop(part string, f func(context.Context) error) {
	a.stops = append(a.stops, stop{part, f})
}

func reveal(secrets []config.Secret) []string {
	revealed := make([]string, len(secrets))
	for i, s := range secrets {
		revealed[i] = s.Reveal()
	}
	return revealed
}

func randomToken() (string, error) { return strings.ToLower(rand.Text()), nil }

// NewSigningSecret makes a secret of the form that Svix makes.
func NewSigningSecret() (string, error) {
	key := make([]byte, 24)
	rand.Read(key)
	return "whsec_" + base64.StdEncoding.EncodeToString(key), nil
}
