package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/config"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// openStore opens the database, which may be away.
func (a *App) openStore(ctx context.Context) (stopFunc, error) {
	o := a.o
	st, err := store.Open(ctx, store.Options{
		URL: o.Config.Database.URL.Reveal(), Schema: o.Config.Schema, ApplicationName: "clerksync " + o.Command,
		MaxConns: int32(o.Config.Appliers) + 4, // for the sweeper, the readings and the dashboard
	})
	if err != nil {
		return nil, err
	}
	a.store = st
	a.check("postgresql", !o.Roles.Has(config.RoleReceiver), func(ctx context.Context) string {
		if err := st.Ping(ctx); err != nil {
			return store.Outage(err)
		}
		if waiting := a.database.waiting.Load(); waiting != nil {
			return waiting.Reason
		}
		return ""
	})
	return func(context.Context) error { st.Close(); return nil }, nil
}

// startNATS starts the embedded server, unless NATS_URL names another.
func (a *App) startNATS(ctx context.Context) (stopFunc, error) {
	if a.o.Config.NATSURL != "" {
		return nil, nil
	}
	dir := a.o.DataDir
	token, err := dir.Keep(tokenFile, randomToken)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir.file("nats"), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the event log: %w", err)
	}
	server, err := embeddednats.Start(ctx, embeddednats.Options{Dir: dir.file("nats"), Token: token, Log: a.logger("eventlog")})
	if err != nil {
		return nil, err
	}
	a.server, a.NATSURL = server, server.URL()
	return func(context.Context) error { server.Stop(); return nil }, nil
}

// connectNATS connects to the server of NATS_URL, or to the embedded one. An API alone
// needs neither, unless it pulls users through.
func (a *App) connectNATS(context.Context) (_ stopFunc, err error) {
	c, logger := a.o.Config, a.logger("eventlog")
	if !a.o.Roles.Has(events) && (c.NATSURL == "" || c.SecretKey == "") {
		return nil, nil
	}
	options := []nats.Option{
		nats.Name("clerksync " + a.o.Command),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(500 * time.Millisecond),
		// While disconnected, a publish fails at once. A buffered one would be sent after
		// the delivery was answered with 503.
		nats.ReconnectBufSize(-1),
		// A server that stops reading would block a writer, and all others behind it. One that
		// has gone silent, as a frozen machine or a cut link does, is left after 6 s: by
		// default it would be minutes, although the rest of a cluster works.
		nats.FlusherTimeout(2 * time.Second),
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("the connection to NATS was lost, connecting again", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { logger.Info("connected to NATS") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			logger.Warn("NATS reported an error", "err", err)
		}),
	}
	if a.server != nil {
		a.nc, err = a.server.Connect(options...)
	} else {
		access, refused := Access(c.NATSURL, c.NATSAccess), func(err error) { a.fatal <- err }
		a.nc, err = eventlog.Connect(access, refused, options...)
		if _, final := errors.AsType[*eventlog.Refusal](err); err != nil && !final {
			logger.Warn("NATS cannot be reached yet, waiting for it: is NATS_URL right, and is the server running?", "err", err)
			a.nc, err = eventlog.Connect(access, refused, append(options, nats.RetryOnFailedConnect(true))...)
		}
	}
	if err != nil {
		return nil, err
	}
	return func(context.Context) error {
		a.nc.FlushTimeout(time.Second) // acknowledgements on their way
		a.nc.Close()
		return nil
	}, nil
}

// Access returns how the settings say to reach NATS.
func Access(url config.Secret, a config.NATSAccess) eventlog.Access {
	return eventlog.Access{URL: url.Reveal(), Creds: a.NATSCreds, NKey: a.NATSNKey, CA: a.NATSCA, Cert: a.NATSCert, Key: a.NATSKey}
}

// LogOptions returns how the settings say to keep the log, but for who stores what in it.
func LogOptions(c *config.Log) eventlog.Options {
	return eventlog.Options{
		Domain: c.NATSDomain, Replicas: c.Replicas, Cluster: c.Cluster, Tags: c.LogTags(), Compression: c.Compression,
		MaxBytes: c.MaxBytes, DeadMaxAge: c.DeadMaxAge, DeadMaxBytes: c.DeadMaxBytes,
	}
}

// openLog opens the event log, which may be away. A fatal error of the log ends the app.
func (a *App) openLog(ctx context.Context) (stopFunc, error) {
	if a.nc == nil {
		return nil, nil
	}
	c := a.o.Config
	o := LogOptions(&c.Log)
	o.StoreEvents, o.Late, o.Logger = c.StoreEvents, a.server == nil, a.logger("eventlog")
	if a.server != nil {
		o.Sync, o.Room, o.Erase, o.Exclusive = a.server.Sync, a.server.Room, a.server.Erase, true
	}
	log, err := eventlog.Open(ctx, a.nc, o)
	if err != nil {
		return nil, err
	}
	a.log = log
	a.check("event_log", a.o.Roles.Has(events), func(ctx context.Context) string {
		if log.Check(ctx) != nil {
			return "the event log takes no events"
		}
		return ""
	})
	closed := make(chan struct{})
	go func() {
		select {
		case err := <-log.Fatal():
			a.fatal <- err
		case <-closed:
		}
	}()
	return func(context.Context) error { close(closed); log.Close(); return nil }, nil
}
