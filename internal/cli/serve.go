package cli

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
)

type serveCmd struct {
	Role          []string `name:"role" env:"CLERKSYNC_ROLE" enum:"receiver,worker,api,all" default:"all" help:"Roles of this process: receiver (the webhook endpoint), worker (applies events), api (the directory API), or all. Several: comma-separated."`
	Migrate       bool     `name:"migrate" env:"CLERKSYNC_MIGRATE" help:"Apply pending migrations first, instead of refusing to start."`
	config.Config `embed:""`
}

func (c *serveCmd) Help() string {
	return `The receiver needs CLERK_WEBHOOK_SIGNING_SECRET, the worker DATABASE_URL. Without
NATS_URL, JetStream runs in this process and syncs every event to disk before the
answer; then one process has both roles.

The API needs DATABASE_URL, and CLERK_JWT_KEY, CLERK_FRONTEND_API_URL or
CLERK_PUBLISHABLE_KEY to verify session tokens. With one of these set, the role all
includes it.

Ctrl-C or SIGTERM stops it: it accepts no more requests and finishes the batches in
flight. A second signal ends it at once; nothing acknowledged is lost then either.`
}

// rolesOf returns the roles with these names.
func rolesOf(names []string, c *config.Config) config.Roles {
	var roles config.Roles
	for _, r := range names {
		roles |= map[string]config.Roles{"receiver": config.RoleReceiver, "worker": config.RoleWorker, "api": config.RoleAPI, "all": c.EveryRole()}[r]
	}
	return roles
}

func (c *serveCmd) Run(s *session) error {
	roles := rolesOf(c.Role, &c.Config)
	if err := c.Validate(roles); err != nil {
		return err
	}
	o := app.Options{
		Config: c.Config, Roles: roles, Command: "serve", Version: version().Version,
		Migrate: c.Migrate, Logger: s.logger,
	}
	if c.NATSURL == "" && roles.Has(config.RoleReceiver|config.RoleWorker) {
		dir, err := app.OpenDataDir(c.DataDir)
		if err != nil {
			return err
		}
		defer dir.Close()
		o.DataDir = dir
	}
	return s.run(o, func(a *app.App) {
		attrs := []any{"receiver", roles.Has(config.RoleReceiver), "worker", roles.Has(config.RoleWorker)}
		if a.Endpoint != "" {
			attrs = append(attrs, "endpoint", a.Endpoint)
		}
		if a.APIURL != "" {
			attrs = append(attrs, "api", a.APIURL)
		}
		s.logger.Info("clerksync is at work", append(attrs, "admin", a.AdminURL, "pid", os.Getpid())...)
	})
}

// collectGarbageAt sets GOGC unless the environment does.
func collectGarbageAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// limitMemory has the garbage collector keep below four fifths of what provider says the
// process may use, unless the environment sets GOMEMLIMIT. The rest is for what it does not
// count, and for a peak.
func limitMemory(provider memlimit.Provider, logger *slog.Logger) {
	limit, err := memlimit.Set(memlimit.WithProvider(provider), memlimit.WithRatio(0.8))
	if err != nil { // not in a cgroup
		logger.Debug("no memory limit is known", "err", err)
		return
	}
	if limit != math.MaxInt64 {
		logger.Debug("memory limit", "bytes", limit)
	}
}

// run starts an app, calls ready, and stops the app on a signal or a fatal error.
func (s *session) run(o app.Options, ready func(*app.App)) error {
	// Most of the memory is NATS's cache of the last seconds' events, which is not garbage:
	// half as much on top is enough.
	collectGarbageAt(50)
	limitMemory(memlimit.FromCgroup, s.logger)
	captureOpenTelemetry(s.logger)
	a, err := app.Start(s.ctx, o)
	if err != nil {
		if s.ctx.Err() != nil {
			return nil // stopped while starting
		}
		return err
	}
	ready(a)
	select {
	case <-s.ctx.Done():
		s.logger.Info("stopping")
	case err = <-a.Fatal():
		s.logger.Error("stopping", "err", err)
	}
	if stopErr := a.Stop(); stopErr != nil {
		return fmt.Errorf("stopped, not cleanly: %w", stopErr)
	}
	return err
}
