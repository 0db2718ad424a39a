package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/dashboard"
	"github.com/clerksync/clerksync/internal/embedded"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/monitor"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/tombstone"
	"github.com/clerksync/clerksync/internal/tracing"
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
	meter := monitor.NewMeter(log, st, o.Logger.With("component", "monitor"))
	measured := prometheus.NewRegistry() // apart: whoever gathers it has a reading taken
	meter.Register(measured)

	if o.Roles.Worker {
		p := a.startProjector(o, log, st, registry, tracer)
		if err := attend(log, p, o.Version); err != nil {
			return nil, err
		}
		checks = append(checks, monitor.Check{Name: "projector", Ready: func(context.Context) error {
			_, err := p.Failing()
			return err
		}})
		a.startSweeper(o, log, st, registry)
	}
	watch := a.startWatch(meter, registry)
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

// startStore opens the database and checks that it can be worked with.
func (a *App) startStore(ctx context.Context, o Options) (*store.Store, error) {
	st, err := store.Open(ctx, store.Options{
		URL: o.Config.Database.URL.Reveal(), Schema: o.Config.Schema, ApplicationName: "clerksync " + o.Command,
		MaxConns: int32(o.Config.Appliers) + 2,
	})
	if err != nil {
		return nil, err
	}
	a.onStop("PostgreSQL connections", func(context.Context) error { st.Close(); return nil })
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := st.Ping(ctx); err != nil {
		return nil, fmt.Errorf("%w; is DATABASE_URL right, and is the server running?", err)
	}
	if o.Migrate {
		applied, err := st.Migrate(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range applied {
			o.Logger.Info("migration applied", "version", m.Version, "name", m.Name)
		}
	}
	if err := st.CheckMigrated(ctx); err != nil {
		if errors.Is(err, store.ErrPending) {
			return nil, fmt.Errorf("%w; apply them with clerksync migrate up, or start with --migrate", err)
		}
		return nil, err
	}
	return st, nil
}

// startLog connects to NATS, starting the embedded server when none is named.
func (a *App) startLog(ctx context.Context, o Options) (*eventlog.Log, error) {
	logger := o.Logger.With("component", "eventlog")
	options := []nats.Option{
		nats.Name("clerksync " + o.Command),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		// While the connection is away, to publish is an error at once, and not
		// something to be made up for later.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("the connection to NATS was lost, connecting again", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { logger.Info("connected to NATS again") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			logger.Warn("NATS reported an error", "err", err)
		}),
	}
	var nc *nats.Conn
	var err error
	embeddedServer := o.Config.NATSURL == ""
	var sync func(string) error
	var room func() error
	if embeddedServer {
		server, err := a.startNATS(ctx, o, logger)
		if err != nil {
			return nil, err
		}
		a.NATSURL, sync, room = server.URL(), server.Sync, server.Room
		nc, err = server.Connect(options...)
		if err != nil {
			return nil, err
		}
	} else {
		if creds := o.Config.NATSCreds; creds != "" {
			options = append(options, nats.UserCredentials(creds))
		}
		if nc, err = nats.Connect(o.Config.NATSURL.Reveal(), options...); err != nil {
			return nil, fmt.Errorf("connect to NATS: %w; is NATS_URL right, and is the server running?", err)
		}
	}
	a.onStop("NATS connection", func(context.Context) error {
		nc.FlushTimeout(time.Second) // acknowledgements on their way
		nc.Close()
		return nil
	})
	log, err := eventlog.Open(ctx, nc, eventlog.Options{
		Replicas:     o.Config.Replicas,
		MaxAge:       o.Config.MaxAge,
		MaxBytes:     o.Config.MaxBytes,
		DeadMaxAge:   o.Config.DeadMaxAge,
		DeadMaxBytes: o.Config.DeadMaxBytes,
		StoreEvents:  o.Config.StoreEvents,
		Sync:         sync,
		Room:         room,
		Logger:       logger,
		Exclusive:    embeddedServer,
	})
	if err != nil {
		return nil, err
	}
	a.onStop("event log", func(context.Context) error { log.Close(); return nil })
	a.endWith(log.Fatal())
	return log, nil
}

// startNATS starts the embedded server in the data folder.
func (a *App) startNATS(ctx context.Context, o Options, logger *slog.Logger) (*embedded.NATS, error) {
	dir := o.DataDir
	token, err := dir.Keep(tokenFile, randomToken)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir.file("nats"), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the event log: %w", err)
	}
	server, err := embedded.StartNATS(ctx, embedded.NATSOptions{Dir: dir.file("nats"), Token: token, Log: logger})
	if err != nil {
		return nil, err
	}
	a.onStop("embedded NATS", func(context.Context) error { server.Stop(); return nil })
	return server, nil
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
func attend(log *eventlog.Log, p *projector.Projector, version string) error {
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

// startAdmin starts the listener for operators. What is the same for both, it adds.
func (a *App) startAdmin(o Options, m monitor.Options, d dashboard.Options) error {
	host, _, _ := net.SplitHostPort(o.Config.Admin.Addr)
	ip := net.ParseIP(host)
	m.Token, m.Local = o.Config.Admin.Token.Reveal(), host == "localhost" || ip != nil && ip.IsLoopback()
	d.Token, d.Local = m.Token, m.Local
	d.Instance, d.Version, d.Logger = o.Config.InstanceID, o.Version, o.Logger.With("component", "dashboard")
	page, err := dashboard.New(d)
	if err != nil {
		return err
	}
	m.Dashboard = page
	addr, err := a.listen("admin listener", o.Config.Admin.Addr, "CLERKSYNC_ADMIN_ADDR", &http.Server{
		Handler:           monitor.Handler(m),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second, // the dashboard's stream sets its own
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	})
	if err != nil {
		return err
	}
	// After the listener in the order of starts: its stop waits for the streams.
	a.onStop("dashboard", func(context.Context) error { page.Close(); return nil })
	a.AdminURL = "http://" + reachable(addr)
	return nil
}

// publicServer is the server that faces the internet. Every stage of a connection
// has its limit: a client that is slow on purpose does not get further than one
// that is slow by fate, and Svix gives up after 15 s anyway.
func publicServer(webhook http.Handler) *http.Server {
	return &http.Server{
		// Not a ServeMux: it redirects paths that are not clean, and Svix takes a
		// redirect for a failure.
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != receiver.Path {
				http.Error(w, "not found", http.StatusNotFound)
				return
			}
			webhook.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,                                        // head and body
		WriteTimeout:      10*time.Second + receiver.DefaultDeadline + time.Second, // from the end of the head
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

// listen serves on addr until the app stops.
func (a *App) listen(part, addr, variable string, server *http.Server) (net.Addr, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w; %s names another address", part, err, variable)
	}
	server.ErrorLog = slog.NewLogLogger(a.logger.With("component", part).Handler(), slog.LevelDebug)
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			a.fatal <- fmt.Errorf("%s: %w", part, err)
		}
	}()
	a.onStop(part, func(ctx context.Context) error {
		err := server.Shutdown(ctx)
		return errors.Join(err, server.Close())
	})
	return listener.Addr(), nil
}

// reachable is an address that a client on this machine can use.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
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
