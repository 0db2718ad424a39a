package cli

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
)

type serveCmd struct {
	Role          []string `name:"role" env:"CLERKSYNC_ROLE" enum:"receiver,worker,all" default:"all" help:"What this process does: receiver (the webhook endpoint), worker (applies events), all. More than one: --role receiver,worker."`
	Migrate       bool     `name:"migrate" env:"CLERKSYNC_MIGRATE" help:"Apply pending migrations first, rather than refuse to start."`
	config.Config `embed:""`
}

func (c *serveCmd) Help() string {
	return `Needs CLERK_WEBHOOK_SIGNING_SECRET for the receiver and DATABASE_URL for the
worker. Without NATS_URL, JetStream runs in this process and writes every event
with fsync before the answer; then one process has both roles.

Ctrl-C or SIGTERM stops it: no more requests are taken, the batches in work are
finished. A second one ends it at once, which loses nothing either.`
}

func (c *serveCmd) roles() config.Roles {
	var roles config.Roles
	for _, r := range c.Role {
		roles |= map[string]config.Roles{"receiver": config.RoleReceiver, "worker": config.RoleWorker, "all": config.AllRoles}[r]
	}
	return roles
}

func (c *serveCmd) Run(s *session) error {
	roles := c.roles()
	if err := c.Validate(roles); err != nil {
		return err
	}
	o := app.Options{
		Config: c.Config, Roles: roles, Command: "serve", Version: version().Version,
		Migrate: c.Migrate, Logger: s.logger,
	}
	if c.NATSURL == "" {
		dir, err := app.OpenDataDir(c.DataDir)
		if err != nil {
			return err
		}
		defer dir.Close()
		o.DataDir = dir
	}
	return s.run(o, func(a *app.App) {
		s.logger.Info("clerksync is at work", "receiver", roles.Has(config.RoleReceiver), "worker", roles.Has(config.RoleWorker), "endpoint", a.Endpoint,
			"admin", a.AdminURL, "pid", os.Getpid())
	})
}

// collectGarbageAt sets how much garbage may pile up, in percent of what is in use,
// unless the environment says it.
func collectGarbageAt(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// run starts an app, says so, and stops it when it is told to or has to.
func (s *session) run(o app.Options, ready func(*app.App)) error {
	// Most of the memory is what NATS keeps of the last seconds' events, which is not
	// garbage: half as much on top of it is enough.
	collectGarbageAt(50)
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
