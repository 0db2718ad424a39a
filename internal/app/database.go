package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/store"
)

const (
	// A start waits startPatience for PostgreSQL, and then goes on without it.
	startPatience = 2 * time.Second

	// prepareInterval is the time between two attempts to prepare the database.
	prepareInterval = time.Second
)

// preparation is the way of the database from a URL to tables that the worker may write.
type preparation struct {
	waiting atomic.Pointer[lag.Failure] // why it is not prepared, nil when it is
}

// prepare prepares the database, and then starts what writes to it. PostgreSQL may be
// away: after startPatience the process goes on, and receives, while this waits. A fault
// that only somebody can correct ends the process.
func (a *App) prepare(ctx context.Context) (stopFunc, error) {
	began := time.Now()
	a.database.waiting.Store(&lag.Failure{Reason: "the database is being prepared", Cause: lag.CausePostgreSQL, Since: began.UTC()})
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	result, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		result <- a.prepareUntilDone(ctx, began)
	}()
	stop := func(ctx context.Context) error {
		cancel()
		select {
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case err := <-result:
		return stop, err
	case <-time.After(startPatience):
	}
	go func() {
		if err := <-result; err != nil && ctx.Err() == nil {
			a.fatal <- err
		}
	}()
	return stop, nil
}

// prepareUntilDone returns nil when what writes to the database was started, and an error
// for a fault that time does not correct.
func (a *App) prepareUntilDone(ctx context.Context, began time.Time) error {
	logger, warned := a.logger("database"), false
	for {
		err := a.prepareDatabase(ctx, a.store)
		if err == nil {
			err = a.checkLog(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			if warned {
				logger.Info("PostgreSQL answers, the worker starts")
			}
			a.database.waiting.Store(nil)
			a.projector.Start()
			a.sweeper.Start()
			a.retention.Start()
			if a.reconcile != nil {
				a.reconcile.Start()
			}
			return nil
		case store.Permanent(err), errors.Is(err, lag.ErrOtherLog):
			return err
		case errors.Is(err, eventlog.ErrUnavailable): // the log itself says that it waits
		case !warned:
			logger.Warn("PostgreSQL cannot be used yet, waiting for it", "err", err)
			warned = true
		}
		a.database.waiting.Store(failure(err, began))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(prepareInterval):
		}
	}
}

// prepareDatabase makes one attempt.
func (a *App) prepareDatabase(ctx context.Context, st *store.Store) error {
	if err := st.Ping(ctx); err != nil {
		return fmt.Errorf("%w; %s", err, cmp.Or(store.Fix(err), "is DATABASE_URL right, and is the server running?"))
	}
	if err := a.checkWorker(ctx, st, (*store.Inspection).ReadOnlyFault); err != nil {
		return err
	}
	if a.o.Migrate {
		applied, err := st.Migrate(ctx, a.o.With...)
		if err != nil && !errors.Is(err, store.ErrNewer) { // CheckMigrated returns it again
			return err
		}
		for _, m := range applied {
			a.o.Logger.Info("migration applied", "version", m.Version, "name", m.Name)
		}
	}
	if err := a.checkWorker(ctx, st, (*store.Inspection).PrivilegeFault); err != nil {
		return err
	}
	err := st.CheckMigrated(ctx)
	switch {
	case errors.Is(err, store.ErrPending):
		return fmt.Errorf("%w; apply them with clerksync migrate up, or start with --migrate", err)
	case errors.Is(err, store.ErrNewer):
		return fmt.Errorf("%w; run the newer clerksync that migrated them", err)
	}
	return err
}

// checkWorker returns a fault that keeps a worker from writing. An API alone may read from a
// standby.
func (a *App) checkWorker(ctx context.Context, st *store.Store, find func(*store.Inspection) *store.Fault) error {
	if !a.o.Roles.Has(config.RoleWorker) {
		return nil
	}
	i, err := st.Inspect(ctx)
	if err != nil {
		return err
	}
	if fault := find(i); fault != nil {
		return fault
	}
	return nil
}

// checkLog compares the event log with the one that the rows come from, before the first
// event is applied. dev goes on with another one: its data folder is made to be deleted.
func (a *App) checkLog(ctx context.Context) error {
	err := a.meter.CheckLog(ctx)
	if errors.Is(err, lag.ErrOtherLog) && a.o.Command == "dev" {
		a.logger("eventlog").Warn("the rows come from another event log, and stay as they are", "err", err)
		if _, err = a.store.ForgetLog(ctx); err == nil {
			err = a.meter.CheckLog(ctx)
		}
	}
	if errors.Is(err, lag.ErrOtherLog) {
		err = fmt.Errorf("%w; %s", err, lag.FixOtherLog)
	}
	return err
}
