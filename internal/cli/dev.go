package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/signing"
)

type devCmd struct {
	Addr           string          `name:"addr" env:"CLERKSYNC_ADDR" default:"${dev_addr}" help:"Address of the webhook endpoint. When the default is in use, a free port is used."`
	AdminAddr      string          `name:"admin-addr" env:"CLERKSYNC_ADMIN_ADDR" default:"${admin_addr}" help:"Address of the admin listener. When the default is in use, a free port is used."`
	SigningSecrets []config.Secret `name:"signing-secret" env:"CLERK_WEBHOOK_SIGNING_SECRET" sep:"," placeholder:"WHSEC" help:"Signing secret of a real endpoint, to receive from Clerk through a tunnel. Without it, one is generated and kept."`
	InstanceID     string          `name:"instance-id" env:"CLERK_INSTANCE_ID" placeholder:"INS" help:"Accept only events of this Clerk instance, ins_…, and park others."`
	DataDir        string          `name:"data-dir" env:"CLERKSYNC_DATA_DIR" default:"${data_dir}" type:"path" help:"Folder of the data, which survives a restart. Delete it to start from scratch."`
	config.Tracing `embed:""`
	PGBin          string `name:"pg-bin" env:"CLERKSYNC_PG_BIN" placeholder:"DIR" help:"Folder with PostgreSQL's programs, when they are not found by themselves."`
}

func (c *devCmd) Help() string {
	return `Starts its own PostgreSQL and NATS servers on free ports, creates the tables, and
receives webhooks. It touches nothing else on this machine. Ctrl-C stops everything;
the data is kept.`
}

// defaultDevAddr is on loopback, unlike the default of serve.
const defaultDevAddr = "127.0.0.1:8080"

func (c *devCmd) Run(s *session) error {
	started := time.Now()
	// Only warnings and errors appear between the lines for people.
	logger := slog.New(atLeast{slog.LevelWarn, s.logger.Handler()})
	dir, err := app.OpenDataDir(c.DataDir)
	if err != nil {
		return err
	}
	defer dir.Close()

	secrets, generated := c.SigningSecrets, ""
	if len(secrets) == 0 {
		if generated, err = dir.Keep("signing-secret", func() (string, error) { return signing.NewSecret(), nil }); err != nil {
			return err
		}
		secrets = []config.Secret{config.Secret(generated)}
	}
	pg, databaseURL, err := app.StartPostgres(s.ctx, dir, c.PGBin, s.logger)
	if err != nil {
		if s.ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := pg.Stop(ctx); err != nil {
			s.logger.Error("PostgreSQL did not stop cleanly", "err", err)
		}
	}()
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-pg.Done():
			cancel(fmt.Errorf("PostgreSQL ended: %w", pg.Err()))
		case <-ctx.Done():
		}
	}()

	conf := config.Default()
	conf.Database.URL, conf.SigningSecrets, conf.InstanceID, conf.Tracing = config.Secret(databaseURL), secrets, c.InstanceID, c.Tracing
	conf.Receiver.Addr, conf.Admin.Addr = freeIfTaken(c.Addr, defaultDevAddr), freeIfTaken(c.AdminAddr, config.Default().Admin.Addr)
	roles := config.AllRoles
	if err := conf.Validate(roles); err != nil {
		return err
	}
	dev := *s
	dev.ctx, dev.logger = ctx, logger
	err = dev.run(app.Options{
		Config: conf, Roles: roles, Command: "dev", Version: version().Version,
		Migrate: true, DataDir: dir, Logger: logger, AnnouncedSecret: secrets[0].Reveal(),
	}, func(a *app.App) { c.welcome(s, a, databaseURL, generated, time.Since(started)) })
	if cause := context.Cause(ctx); s.ctx.Err() == nil && cause != nil {
		return errors.Join(cause, err) // without PostgreSQL, nothing stops cleanly
	}
	if err != nil {
		return err
	}
	if isTerminal(s.stdout) {
		fmt.Fprintln(s.stdout) // after the terminal's own ^C
	}
	fmt.Fprintln(s.stdout, "Stopped. The data is kept in", c.DataDir)
	return nil
}

// sample is an event to try without clerksync's source.
const sample = `{"type":"user.created","timestamp":1768208400426,"data":{"object":"user","id":"user_try","first_name":"Ada",` +
	`"created_at":1768208400412,"updated_at":1768208400412,"primary_email_address_id":"idn_try","email_addresses":[{"id":"idn_try",` +
	`"email_address":"ada@example.com","verification":{"status":"verified"}}]}}`

const sampleFile = "testdata/events/user.created.json"

func (c *devCmd) welcome(s *session, a *app.App, databaseURL, generated string, took time.Duration) {
	secret := "as given by CLERK_WEBHOOK_SIGNING_SECRET"
	if generated != "" {
		secret = generated
	}
	dataDir := "" // flag for the other commands, when it is not their default
	if byDefault, err := filepath.Abs(config.Default().DataDir); err != nil || c.DataDir != byDefault {
		dataDir = " --data-dir " + shellQuote(c.DataDir)
	}
	send := program() + " send" + dataDir + " " + sampleFile
	if _, err := os.Stat(sampleFile); err != nil {
		send = "echo " + shellQuote(sample) + " | " + program() + " send" + dataDir + " -"
	}
	fmt.Fprintf(s.stdout, `clerksync is ready after %.1f s. Ctrl-C ends it.

  webhook endpoint  %s
  signing secret    %s
  database          %s
  dashboard         %s
  data folder       %s

Try it, in another terminal:

  %s
  %s show%s ada@example.com
  psql '%s' -c 'SELECT clerk_id, name, email FROM clerk.active_users'

`, took.Seconds(), a.Endpoint, secret, databaseURL, a.AdminURL, c.DataDir, send, program(), dataDir, databaseURL)
	if set := slices.DeleteFunc(slices.Clone(elsewhere), func(name string) bool { return os.Getenv(name) == "" }); len(set) > 0 {
		fmt.Fprintf(s.stdout, "Set in the environment: %s. dev ignores it, other commands do not: unset it to use them with this dev.\n\n",
			strings.Join(set, ", "))
	}
}

// elsewhere lists variables that point the other commands at another deployment.
var elsewhere = []string{"DATABASE_URL", "NATS_URL", "CLERKSYNC_URL"}

// shellQuote quotes a word for a shell.
func shellQuote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// freeIfTaken replaces a default address that is in use by a free port. It leaves an
// address that was asked for.
func freeIfTaken(addr, byDefault string) string {
	if addr != byDefault {
		return addr
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "127.0.0.1:0"
	}
	if err == nil {
		l.Close()
	}
	return addr
}

// atLeast is a handler that drops records below a level.
type atLeast struct {
	level slog.Level
	slog.Handler
}

func (h atLeast) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}

func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{h.level, h.Handler.WithAttrs(attrs)}
}

func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{h.level, h.Handler.WithGroup(name)}
}
