package cli

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/store"
)

// deployment is the clerksync that a command works on: the database and the event log
// that the flags name, or else those of the process that runs in the data folder.
type deployment struct {
	local           `embed:""`
	config.Database `embed:""`
	natsFlags       `embed:""`
}

// deploymentRows is a deployment for a command that reads and writes only rows.
type deploymentRows struct {
	local           `embed:""`
	config.Database `embed:""`
}

// deploymentLog is a deployment for a command that needs only the stored events.
type deploymentLog struct {
	local     `embed:""`
	natsFlags `embed:""`
}

// local is the clerksync process that runs on this machine, found by its data folder.
type local struct {
	DataDir string `name:"data-dir" env:"CLERKSYNC_DATA_DIR" default:"${data_dir}" type:"path" help:"Data folder of the clerksync running here, which is used for everything that no other flag names."`
	JSON    bool   `name:"json" help:"Print JSON."`

	process *app.Running // of running, which looks once
	missing error
}

type natsFlags struct {
	NATSURL           config.Secret `name:"nats-url" env:"NATS_URL" placeholder:"URL" help:"NATS server with the event log. Without it, that of the clerksync running here."`
	config.NATSAccess `embed:""`
}

// open opens the database and the event log. The returned function closes both.
func (d *deployment) open(s *session) (*store.Store, *eventlog.Log, func(), error) {
	st, err := d.openStore(s)
	if err != nil {
		return nil, nil, nil, err
	}
	log, done, err := d.openLog(s)
	if err != nil {
		st.Close()
		return nil, nil, nil, err
	}
	return st, log, func() { done(); st.Close() }, nil
}

func (d *deployment) openStore(s *session) (*store.Store, error) {
	return d.local.openStore(s, d.Database)
}

func (d *deploymentRows) openStore(s *session) (*store.Store, error) {
	return d.local.openStore(s, d.Database)
}

// openLog opens the event log that belongs to the database. The returned function closes it.
func (d *deployment) openLog(s *session) (*eventlog.Log, func(), error) {
	log, done, err := d.local.openLog(s, d.natsFlags)
	if err != nil {
		return nil, nil, err
	}
	if err := d.checkSame(s, log); err != nil {
		done()
		return nil, nil, err
	}
	return log, done, nil
}

func (d *deploymentLog) openLog(s *session) (*eventlog.Log, func(), error) {
	return d.local.openLog(s, d.natsFlags)
}

// checkSame refuses to combine what one flag names with what the process running here has
// of another deployment: rows and events of two deployments tell a false story. One database
// has many URLs, for another role or past a pooler: its rows tell which log they are of.
func (d *deployment) checkSame(s *session, log *eventlog.Log) error {
	if (d.URL == "") == (d.NATSURL == "") {
		return nil
	}
	running, err := d.running()
	switch {
	case err != nil: // there is nothing to combine with; opening it says so
		return nil
	case d.NATSURL == "" && d.URL.Reveal() != running.DatabaseURL && !d.rowsOf(s, log):
		return withHint(errors.New("the clerksync running here uses another database than DATABASE_URL"), "set NATS_URL too")
	case d.URL == "" && running.DatabaseURL != "" && d.NATSURL.Reveal() != running.NATSURL:
		return withHint(errors.New("the clerksync running here uses another event log than NATS_URL"), "set DATABASE_URL too")
	}
	return nil
}

// rowsOf reports whether the rows of the database are of a log.
func (d *deployment) rowsOf(s *session, log *eventlog.Log) bool {
	st, err := d.openStore(s)
	if err != nil {
		return false
	}
	defer st.Close()
	row, err := st.EventLog(s.ctx)
	return err == nil && row != nil && row.LogID == log.ID()
}

// running returns how to reach the process in the data folder. The error is
// [app.ErrNotRunning] when there is none.
func (l *local) running() (*app.Running, error) {
	if l.process == nil && l.missing == nil {
		l.process, l.missing = app.FindRunning(l.DataDir)
	}
	return l.process, l.missing
}

// findClerk names the made-up Clerk of the dev running here, when there is one and no
// secret key is given.
func (l *local) findClerk(s *config.Source) {
	if s.SecretKey != "" {
		return
	}
	if running, err := l.running(); err == nil && running.ClerkSecretKey != "" {
		s.SecretKey, s.APIURL = config.Secret(running.ClerkSecretKey), running.ClerkAPIURL
	}
}

// errNoDatabase means that no database is named, by a flag or by a process running here.
var errNoDatabase = errors.New("no database")

// findStore opens the database, whether or not it answers. The error is [errNoDatabase]
// when none is named.
func (l *local) findStore(s *session, d config.Database) (*store.Store, error) {
	if d.URL == "" {
		running, err := l.running()
		switch {
		case errors.Is(err, app.ErrNotRunning):
			err = fmt.Errorf("%w: DATABASE_URL is not set, and clerksync is %w", errNoDatabase, err)
			return nil, withHint(err, "set DATABASE_URL, or start clerksync dev")
		case err != nil:
			return nil, err
		case running.DatabaseURL == "":
			err = fmt.Errorf("%w: DATABASE_URL is not set, and the clerksync running here, a receiver, has none", errNoDatabase)
			return nil, withHint(err, "set DATABASE_URL")
		}
		d.URL, d.Schema = config.Secret(running.DatabaseURL), running.Schema
	}
	return store.Open(s.ctx, store.Options{URL: d.URL.Reveal(), Schema: d.Schema, ApplicationName: "clerksync command", MaxConns: 16})
}

// openStore is findStore for a database that has to answer.
func (l *local) openStore(s *session, d config.Database) (*store.Store, error) {
	st, err := l.findStore(s, d)
	if err != nil {
		return nil, err
	}
	if err := st.Ping(s.ctx); err != nil {
		st.Close()
		return nil, withHint(err, "%s", cmp.Or(store.Fix(err), "start the server, or correct DATABASE_URL"))
	}
	return st, nil
}

// openLog connects to NATS and opens the event log there.
func (l *local) openLog(s *session, n natsFlags) (*eventlog.Log, func(), error) {
	if err := config.CheckNATSURL(n.NATSURL); err != nil {
		return nil, nil, usageError("NATS_URL is " + err.Error())
	}
	access, domain, unreachable := app.Access(n.NATSURL, n.NATSAccess), n.NATSDomain, "start the NATS server, or correct NATS_URL"
	if n.NATSURL != "" {
		if err := n.Check(); err != nil {
			return nil, nil, err
		}
	} else {
		running, err := l.running()
		if errors.Is(err, app.ErrNotRunning) {
			return nil, nil, withHint(fmt.Errorf("no event log: NATS_URL is not set, and clerksync is %w", err), "set NATS_URL, or start clerksync")
		}
		if err != nil {
			return nil, nil, err
		}
		access, domain, unreachable = eventlog.Access{URL: running.NATSURL}, "", "see the log of the clerksync running here, or set NATS_URL"
	}
	options := []nats.Option{
		nats.Name("clerksync command"), nats.Timeout(5 * time.Second),
		// Wait for a server that restarts, but not for one that is gone.
		nats.MaxReconnects(10), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectBufSize(-1),
		// By default they are printed. The command itself reports what they mean for it, but
		// for a missing permission: the server does not answer then.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			level := slog.LevelDebug
			if errors.Is(err, nats.ErrPermissionViolation) {
				level = slog.LevelWarn
			}
			s.logger.Log(s.ctx, level, "NATS reported an error", "err", err)
		}),
	}
	refused := func(err error) error {
		if r, ok := errors.AsType[*eventlog.Refusal](err); ok {
			return withHint(r.Err, "%s", r.Fix)
		}
		return err
	}
	nc, err := eventlog.Connect(access, nil, options...)
	if err != nil {
		return nil, nil, refused(withHint(err, "%s", unreachable))
	}
	log, err := eventlog.Attach(s.ctx, nc, domain)
	if err != nil {
		nc.Close()
		if errors.Is(err, eventlog.ErrNoLog) {
			err = withHint(err, "start clerksync serve, or correct NATS_URL")
		}
		return nil, nil, refused(err)
	}
	return log, func() { log.Close(); nc.Close() }, nil
}

// endpoint returns where to post events and the secret that signs them: those given, or
// else those of the process running here.
func (l *local) endpoint(url string, secret config.Secret) (string, string, error) {
	if url == "" || secret == "" {
		running, err := l.running()
		switch {
		case errors.Is(err, app.ErrNotRunning) && url == "":
			return "", "", withHint(fmt.Errorf("no endpoint: --url is not given, and clerksync is %w", err), "give --url and --secret, or start clerksync dev")
		case errors.Is(err, app.ErrNotRunning):
			return "", "", withHint(fmt.Errorf("no signing secret: --secret is not given, and clerksync is %w", err), "give --secret, or start clerksync dev")
		case err != nil:
			return "", "", err
		}
		if url == "" {
			url = running.Endpoint
		}
		if secret == "" {
			secret = config.Secret(running.SigningSecret)
		}
	}
	if secret == "" {
		return "", "", withHint(errors.New("no signing secret: only clerksync dev leaves one to find"), "set CLERK_WEBHOOK_SIGNING_SECRET, or give --secret")
	}
	signs, _, _ := strings.Cut(secret.Reveal(), ",") // of several, the first
	if err := signing.CheckSecret(signs); err != nil {
		return "", "", usageError(err.Error())
	}
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return "", "", usageError("--url begins with http:// or https://, and ends with " + clerk.WebhookPath)
	}
	return url, signs, nil
}
