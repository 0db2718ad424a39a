package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/directory"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/erasure"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/metrics"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/tail"
	"github.com/clerksync/clerksync/internal/tracing"
)

// Options configure a process.
type Options struct {
	Config  config.Config
	Roles   config.Roles
	Command string // dev or serve, for the announcement
	Version string
	Migrate bool     // apply pending migrations rather than refuse to start
	With    []string // optional sets of migrations to apply then, as store.RLS
	DataDir *DataDir // nil with an external NATS server: nothing is stored on this machine
	Logger  *slog.Logger

	// Announced is written into the data folder, with what the app knows by itself. Only dev
	// sets it, for the secrets that it made.
	Announced Running

	// OpenDashboard lets everybody on this machine use the dashboard, as long as no token
	// is configured. Only dev sets it.
	OpenDashboard bool
}

// App is a running clerksync.
type App struct {
	Endpoint string // URL of the webhook, "" without the receiver
	APIURL   string // URL below which the directory API is, "" without it
	AdminURL string
	NATSURL  string

	o     Options
	fatal chan error
	stops []stop // in the order of the start

	// Made by one part for those after it.
	registry  *prometheus.Registry
	checks    []admin.Check
	tracer    *tracing.Tracer // nil when nothing is traced
	store     *store.Store    // nil without the worker
	reader    *store.Reader   // nil without the API
	database  preparation
	server    *embeddednats.Server
	nc        *nats.Conn
	log       *eventlog.Log // nil for an API that pulls nobody through
	meter     *lag.Meter
	measured  *prometheus.Registry // of the meter, apart: gathering it takes a reading
	watch     *lag.Watch
	feed      *tail.Feed
	projector *projector.Projector
	sweeper   *erasure.Sweeper
	retention *erasure.Retention
	reconcile *source.Schedule // nil when there is none
	receiver  *receiver.Receiver
	directory *directory.Handler
	prober    *probe.Prober // nil when none is configured

	adminToken string // "" when there is none
}

// part is one part of a process. start returns the function that stops it, or nil.
type part struct {
	name  string
	roles config.Roles // that need it
	start func(*App, context.Context) (stopFunc, error)
}

type stopFunc func(context.Context) error

// events are the roles that work with the event log.
const events = config.RoleReceiver | config.RoleWorker

// parts start in this order and stop in reverse order.
var parts = []part{
	{"traces", config.AllRoles, (*App).startTracing}, // first, so that it sends the spans of the last stop
	{"PostgreSQL connections", config.RoleWorker, (*App).openStore},
	{"PostgreSQL connections of the API", config.RoleAPI, (*App).openReader},
	{"embedded NATS", events, (*App).startNATS},
	{"NATS connection", config.AllRoles, (*App).connectNATS},
	{"event log", config.AllRoles, (*App).openLog},
	{"meter of the lag", events, (*App).makeMeter},
	{"feed of clerksync tail", events, (*App).startFeed},
	{"projector", config.RoleWorker, (*App).makeProjector},
	{"sweeper", config.RoleWorker, (*App).makeSweeper},
	{"retention", config.RoleWorker, (*App).makeRetention},
	{"reconcile", config.RoleWorker, (*App).makeReconcile},
	{"tables", config.RoleWorker, (*App).prepare}, // starts the four
	{"receiver", config.RoleReceiver, (*App).makeReceiver},
	{"prober", config.RoleReceiver, (*App).startProber},
	{"tables of the API", config.RoleAPI, (*App).checkTables},
	{"directory API", config.RoleAPI, (*App).makeDirectory},
	{"watch of the lag", events, (*App).startWatch},
	{"alerts", events, (*App).startAlerts},
	{"admin listener", config.AllRoles, (*App).startAdmin},
	{"public listener", config.RoleReceiver | config.RoleAPI, (*App).listenPublic}, // from here on events arrive
	{"announcement", config.AllRoles, (*App).announce},
}

type stop struct {
	name string
	f    stopFunc
}

// stopTimeout bounds the stop of each part.
const stopTimeout = 15 * time.Second

// Start starts the parts that the roles need. It does not need PostgreSQL or an external
// NATS server to be there: it listens, and waits for them in the background. When a part
// fails, the parts before it are stopped.
func Start(ctx context.Context, o Options) (*App, error) {
	a := &App{o: o, fatal: make(chan error, 4), registry: metrics.NewRegistry(o.Version)}
	for _, p := range parts {
		if !o.Roles.Has(p.roles) {
			continue
		}
		f, err := p.start(a, ctx)
		if f != nil {
			a.stops = append(a.stops, stop{p.name, f})
		}
		if err != nil {
			return nil, errors.Join(err, a.Stop())
		}
	}
	return a, nil
}

// Fatal delivers the error of a part that ended on its own.
func (a *App) Fatal() <-chan error { return a.fatal }

// Stop stops the parts, the last one first, and returns all errors.
func (a *App) Stop() error {
	var errs []error
	for len(a.stops) > 0 {
		s := a.stops[len(a.stops)-1]
		a.stops = a.stops[:len(a.stops)-1]
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		if err := s.f(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

func (a *App) logger(component string) *slog.Logger { return a.o.Logger.With("component", component) }

func (a *App) check(name string, needed bool, fault func(context.Context) string) {
	a.checks = append(a.checks, admin.Check{Name: name, Fault: fault, Needed: needed})
}

// announce writes into the data folder how commands reach this process.
func (a *App) announce(context.Context) (stopFunc, error) {
	if a.o.DataDir == nil {
		return nil, nil
	}
	c, r := a.o.Config, a.o.Announced
	r.Command, r.Endpoint, r.AdminURL, r.AdminToken = a.o.Command, a.Endpoint, a.AdminURL, a.adminToken
	r.DatabaseURL, r.Schema, r.NATSURL, r.InstanceID = c.Database.URL.Reveal(), c.Schema, a.NATSURL, c.InstanceID
	return nil, a.o.DataDir.Announce(r)
}

func reveal(secrets []config.Secret) []string {
	revealed := make([]string, len(secrets))
	for i, s := range secrets {
		revealed[i] = s.Reveal()
	}
	return revealed
}

func randomToken() (string, error) { return strings.ToLower(rand.Text()), nil }
