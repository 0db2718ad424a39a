package app

import (
	"context"
	"errors"
	"slices"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/directory"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/token"
)

// openReader opens the API's own connections to the database, which may be away.
func (a *App) openReader(ctx context.Context) (_ stopFunc, err error) {
	c := a.o.Config
	a.reader, err = store.OpenReader(ctx, store.Options{URL: c.Database.URL.Reveal(), Schema: c.Schema, ApplicationName: "clerksync-api"})
	if err != nil {
		return nil, err
	}
	a.check("directory", !a.o.Roles.Has(config.RoleReceiver), func(ctx context.Context) string {
		if err := a.reader.Check(ctx); err != nil {
			return a.reader.Outage(err)
		}
		return ""
	})
	return func(context.Context) error { a.reader.Close(); return nil }, nil
}

// checkTables does for an API what [App.prepare] does for a worker, once: it refuses to
// start over pending migrations, or applies them. Without the database the API goes on, and
// asks it with every request. A login that may only read cannot see which are applied.
func (a *App) checkTables(ctx context.Context) (stopFunc, error) {
	if a.o.Roles.Has(config.RoleWorker) {
		return nil, nil
	}
	c := a.o.Config
	st, err := store.Open(ctx, store.Options{URL: c.Database.URL.Reveal(), Schema: c.Schema, ApplicationName: "clerksync-api", MaxConns: 2})
	if err != nil {
		return nil, err
	}
	defer st.Close()
	asking, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	err = st.Ping(asking)
	if err == nil {
		err = a.prepareDatabase(ctx, st)
		if err != nil && (a.o.Migrate || errors.Is(err, store.ErrPending) || errors.Is(err, store.ErrNewer)) {
			return nil, err
		}
		reading, cancel := context.WithTimeout(ctx, startPatience)
		defer cancel()
		err = a.reader.Check(reading)
	}
	if err != nil {
		text := "the database cannot be read yet, requests are answered with 503"
		if a.o.Migrate {
			text += ", and pending migrations were not applied"
		}
		a.logger("directory").Warn(text, "cause", a.reader.Outage(err), "err", err)
	}
	return nil, nil
}

// makeDirectory makes the directory API.
func (a *App) makeDirectory(ctx context.Context) (stopFunc, error) {
	o := a.o.Config.TokenOptions()
	o.Registry, o.Logger = a.registry, a.logger("tokens")
	verifier, err := token.New(o)
	if err != nil {
		return nil, err
	}
	if o.Key == "" {
		a.check("keys", !a.o.Roles.Has(config.RoleReceiver), func(ctx context.Context) string {
			if err := verifier.CheckKeys(ctx); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	pull, stop, err := a.makePuller(ctx)
	if err != nil {
		return nil, err
	}
	a.directory = directory.New(directory.Options{
		Verifier: verifier, Reader: a.reader, Pull: pull,
		// Whoever may have a token made may use it here.
		Origins:  slices.DeleteFunc(o.AuthorizedParties, func(party string) bool { return party == token.NoParty }),
		Registry: a.registry, Logger: a.logger("directory"),
	})
	return stop, nil
}

// makePuller returns a function that pulls a user from Clerk, nil without a secret key and
// an event log.
func (a *App) makePuller(ctx context.Context) (pull func(context.Context, string) error, stop stopFunc, err error) {
	c := a.o.Config
	switch {
	case c.SecretKey == "":
		return nil, nil, nil
	case a.log == nil:
		a.logger("directory").Warn("CLERK_SECRET_KEY has no effect on this process: to fetch users before their webhook, the role api alone needs NATS_URL too")
		return nil, nil, nil
	}
	st := a.store
	if st == nil { // without the worker: to see when it has applied what was pulled
		if st, err = store.Open(ctx, store.Options{URL: c.Database.URL.Reveal(), Schema: c.Schema, ApplicationName: "clerksync-api", MaxConns: 2}); err != nil {
			return nil, nil, err
		}
	}
	client := source.NewClient(source.Options{SecretKey: c.SecretKey.Reveal(), URL: c.APIURL})
	puller := source.NewPuller(source.PullerOptions{Client: client, Log: a.log, Store: st, InstanceID: c.InstanceID, Logger: a.logger("directory")})
	pull = func(ctx context.Context, userID string) error {
		_, err := puller.Pull(ctx, userID)
		return err
	}
	return pull, func(context.Context) error {
		puller.Close()
		client.Close()
		if st != a.store {
			st.Close()
		}
		return nil
	}, nil
}
