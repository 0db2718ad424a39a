package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/embedded"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// startStore opens the database and checks that it can be worked with.
func (a *App) startStore(ctx context.Context, o Options) (*store.Store, error) {
	st, err := store.Open(ctx, store.Options{
		URL: o.Config.Database.URL.Reveal(), Schema: o.Config.Schema, ApplicationName: "clerksync " + o.Command,
		MaxConns: int32(o.Config.Appliers) + 4, // the sweeper, the readings, and what is asked for on the dashboard
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
		// A server that does not read holds up who writes, and with him all others.
		nats.FlusherTimeout(2 * time.Second),
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
