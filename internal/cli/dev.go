package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/tail"
)

type devCmd struct {
	config.Config `embed:""` // adapted by flagsOfDev
	PGBin         string     `name:"pg-bin" env:"CLERKSYNC_PG_BIN" placeholder:"DIR" help:"Folder with PostgreSQL's programs, when they are not found by themselves."`
	SampleData    bool       `name:"sample-data" env:"CLERKSYNC_SAMPLE_DATA" help:"Also run a made-up Clerk, whose people arrive by a backfill and change every few seconds."`
}

func (c *devCmd) Help() string {
	return `Starts its own PostgreSQL and NATS servers on free ports, creates the tables, and
receives webhooks. It prints a line for every event, as clerksync tail does, and touches
nothing else on this machine. Ctrl-C stops everything; the data is kept.

It takes the settings of serve, but none that names a server elsewhere. Without
--signing-secret, a secret is generated and kept. Without --addr and --admin-addr, the
listeners are on ` + defaultDevAddr + ` and ` + config.Default().Admin.Addr + `, or on free ports while these are
taken. Only warnings and errors are logged, unless --log-level says otherwise.

With --sample-data there is something to watch without an account: a Clerk in this process
with a few hundred made-up people. They arrive by a backfill, and every few seconds a change
as a signed webhook. The commands that ask Clerk's Backend API ask this one, unless
CLERK_SECRET_KEY is set. It is kept in the data folder; take a folder of its own, so that no
real people are among them.`
}

// flagsOfDev adapts the flags of dev, which are those of serve: it has none for another
// PostgreSQL or NATS, and its addresses are empty when nobody asks for one.
func flagsOfDev(parser *kong.Kong) {
	for _, command := range parser.Model.Children {
		if command.Name != "dev" {
			continue
		}
		command.Flags = slices.DeleteFunc(command.Flags, func(f *kong.Flag) bool {
			return f.Name == "database-url" || strings.HasPrefix(f.Name, "nats-") ||
				slices.Contains([]string{"log-replicas", "log-cluster", "log-tags", "log-compression"}, f.Name)
		})
		for _, f := range command.Flags {
			switch f.Name {
			case "addr":
				f.HasDefault, f.PlaceHolder = false, defaultDevAddr
			case "admin-addr":
				f.HasDefault, f.PlaceHolder = false, config.Default().Admin.Addr
			}
		}
	}
}

// defaultDevAddr is on loopback, unlike the default of serve.
const defaultDevAddr = "127.0.0.1:8080"

func (c *devCmd) Run(s *session) error {
	started := time.Now()
	logger := s.logger
	if s.logLevel == nil { // only warnings and errors appear between the lines for people
		logger = slog.New(atLeast{slog.LevelWarn, s.logger.Handler()})
	}
	dir, err := app.OpenDataDir(c.DataDir)
	if err != nil {
		return err
	}
	defer dir.Close()

	conf, moved := c.Config, []string{}
	conf.Replicas = config.Default().Replicas
	for _, l := range []struct {
		addr                      *string
		byDefault, name, variable string
	}{
		{&conf.Receiver.Addr, defaultDevAddr, "webhook endpoint", "CLERKSYNC_ADDR"},
		{&conf.Admin.Addr, config.Default().Admin.Addr, "dashboard", "CLERKSYNC_ADMIN_ADDR"},
	} {
		note, err := chooseAddr(l.addr, l.byDefault, l.name, l.variable)
		if err != nil {
			return err
		}
		if note != "" {
			moved = append(moved, note)
		}
	}
	var people *sampleClerk
	if c.SampleData {
		if people, err = startSample(dir, conf.InstanceID); err != nil {
			return fmt.Errorf("start the sample data: %w", err)
		}
		defer people.stop()
		conf.SecretKey, conf.APIURL = config.Secret(people.clerk.SecretKey()), people.url
	}
	if faults := conf.CheckSet(); len(faults) > 0 {
		return faults
	}

	generated := ""
	if len(conf.SigningSecrets) == 0 {
		if generated, err = dir.Keep("signing-secret", func() (string, error) { return signing.NewSecret(), nil }); err != nil {
			return err
		}
		conf.SigningSecrets = []config.Secret{config.Secret(generated)}
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

	conf.Database.URL = config.Secret(databaseURL)
	dev := *s
	dev.ctx, dev.logger = ctx, logger
	secret := conf.SigningSecrets[0].Reveal()
	announced := app.Running{SigningSecret: secret}
	if people != nil {
		announced.ClerkSecretKey, announced.ClerkAPIURL = people.clerk.SecretKey(), people.url
	}
	var lines sync.WaitGroup // and the sample data
	err = dev.run(app.Options{
		Config: conf, Roles: conf.EveryRole(), Command: "dev", Version: version().Version,
		Migrate: true, With: []string{store.RLS}, DataDir: dir, Logger: logger, Announced: announced, OpenDashboard: true,
	}, func(a *app.App) {
		if people != nil {
			if err := people.arrive(&dev, deployment{local: local{DataDir: c.DataDir}}); err != nil {
				cancel(fmt.Errorf("start the sample data: %w", err))
				return
			}
			lines.Go(func() {
				if err := people.run(ctx, a.Endpoint, secret); err != nil {
					logger.Warn("the sample data changes no more", "err", err)
				}
			})
		}
		w, done, watchErr := watchHere(a.NATSURL)
		c.welcome(s, a, databaseURL, generated, people, moved, time.Since(started))
		if watchErr != nil {
			logger.Warn("events are not shown", "err", watchErr)
			return
		}
		lines.Go(func() {
			defer done()
			_ = w.Run(ctx, s.printTail) // ends with the app
		})
	})
	cancel(nil)
	lines.Wait()
	if cause := context.Cause(ctx); s.ctx.Err() == nil && cause != context.Canceled {
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

func (c *devCmd) welcome(s *session, a *app.App, databaseURL, generated string, people *sampleClerk, moved []string, took time.Duration) {
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
	api := "off: set CLERK_JWT_KEY (Clerk dashboard → API keys)"
	if a.APIURL != "" {
		api = a.APIURL + "/profile, with a session token"
	}
	short, _, _ := strings.Cut(databaseURL, "?") // psql does not insist on TLS
	var text strings.Builder
	fmt.Fprintf(&text, `clerksync is ready after %.1f s. Ctrl-C ends it.

  webhook endpoint  %s
  signing secret    %s
  database          %s
  dashboard         %s
  directory API     %s
  data folder       %s

Try it, in another terminal:

  %s
  %s show%s ada@example.com
  psql %s \
    -c 'SELECT clerk_id, name, email FROM clerk.active_users'

`, took.Seconds(), a.Endpoint, secret, databaseURL, a.AdminURL, api, c.DataDir, send, program(), dataDir, short)
	if people != nil {
		text.WriteString(people.welcome())
	}
	notes := moved
	elsewhere := []string{"DATABASE_URL", "NATS_URL", "CLERKSYNC_URL"} // they point the other commands at another deployment
	if people != nil {
		elsewhere = append(elsewhere, "CLERK_SECRET_KEY")
	}
	if set := slices.DeleteFunc(elsewhere, func(name string) bool { return os.Getenv(name) == "" }); len(set) > 0 {
		notes = append(notes, fmt.Sprintf("Set in the environment: %s. dev ignores it, other commands do not: unset it to use them with this dev.",
			strings.Join(set, ", ")))
	}
	for _, note := range notes {
		text.WriteString(note + "\n\n")
	}
	text.WriteString("Events, as they arrive (times in UTC):\n")
	io.WriteString(s.stdout, text.String())
}

// shellQuote quotes a word for a shell.
func shellQuote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// chooseAddr checks that an address is free. It replaces an empty one by the default, or by
// a free port if that is taken, and returns a sentence that says so.
func chooseAddr(addr *string, byDefault, name, variable string) (note string, err error) {
	asked := *addr
	if asked == "" {
		*addr = byDefault
	}
	l, err := net.Listen("tcp", *addr)
	switch {
	case err == nil:
		l.Close()
		return "", nil
	case !errors.Is(err, syscall.EADDRINUSE):
		return "", nil // the app says what is wrong
	case asked != "":
		err := fmt.Errorf("%s, which %s asks for, is used by another program", asked, variable)
		return "", withHint(err, "stop that program, or name another address; without one, dev takes a free port")
	}
	*addr = "127.0.0.1:0"
	return fmt.Sprintf("%s is used by another program: the %s has a free port instead. %s names another.", byDefault, name, variable), nil
}

// watchHere begins to watch the app of this process.
func watchHere(natsURL string) (*tail.Watcher, func(), error) {
	nc, err := nats.Connect(natsURL, nats.Name("clerksync dev"), nats.NoReconnect())
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	w, err := tail.Watch(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return w, nc.Close, nil
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
