package cli

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/loadtest"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/schema"
)

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

type commands struct {
	Dev       devCmd       `cmd:"" help:"Run everything locally for development: PostgreSQL, NATS, receiver and worker."`
	Serve     serveCmd     `cmd:"" help:"Run in production: receive webhooks, apply them, answer the directory API, or any of these."`
	Migrate   migrateCmd   `cmd:"" help:"Create and update the tables."`
	Send      sendCmd      `cmd:"" help:"Sign events and post them, as Svix does."`
	Show      showCmd      `cmd:"" help:"Show one user, organization or membership: row, head and stored events."`
	Lag       lagCmd       `cmd:"" help:"Show how far the rows are behind Clerk, at every hop."`
	Dashboard dashboardCmd `cmd:"" help:"Print a link that logs in to the dashboard once, and open it."`
	Tail      tailCmd      `cmd:"" help:"Follow events as they arrive and are applied, one line each."`
	Probe     probeCmd     `cmd:"" help:"Send a signed probe through the public URL and follow it to the worker."`
	Loadtest  loadtestCmd  `cmd:"" help:"Send signed synthetic events to your own deployment, and measure it."`
	Doctor    doctorCmd    `cmd:"" help:"Check every hop and print a fix for each failure."`
	Events    eventsCmd    `cmd:"" help:"List, show, export and import the stored events."`
	Backfill  backfillCmd  `cmd:"" help:"Read all users, organizations and memberships from Clerk."`
	Reconcile reconcileCmd `cmd:"" help:"Find what differs between Clerk and the tables, and repair it."`
	Pull      pullCmd      `cmd:"" help:"Read one user or organization from Clerk, with its memberships."`
	Replay    replayCmd    `cmd:"" help:"Apply stored events again."`
	Verify    verifyCmd    `cmd:"" help:"Compare the tables with a rebuild from the event log."`
	Dead      deadCmd      `cmd:"" help:"List, show, retry and discard dead letters: events that can never be applied."`
	Erase     eraseCmd     `cmd:"" help:"Erase a user: row, stored events, dead letters."`
	Restore   restoreCmd   `cmd:"" help:"Undo the delete of a user, organization or membership."`
	Schema    schemaCmd    `cmd:"" help:"Print models of the tables for Prisma, Drizzle, SQL or TypeScript."`
	Version   versionCmd   `cmd:"" help:"Print the version."`

	LogLevel  *slog.Level `name:"log-level" env:"CLERKSYNC_LOG_LEVEL" placeholder:"LEVEL" help:"Lowest level that is logged: debug, info, warn, error. Without it, info; in dev, warn."`
	LogFormat string      `name:"log-format" env:"CLERKSYNC_LOG_FORMAT" default:"text" enum:"text,json" help:"Format of the log on standard error: text or json."`
}

const description = `Keeps PostgreSQL tables in step with Clerk's users, organizations and memberships.

clerksync is a Clerk webhook endpoint. It verifies every delivery, stores it in NATS
JetStream before it answers, and applies it to the tables; the order of arrival does
not matter.

Troubleshooting: clerksync lag shows what is behind and why, clerksync doctor checks
every hop and prints a fix for each failure.

Every flag that names a variable, ($NAME), can be set in the environment instead.
Exit status: 0 success, 1 failure, 2 wrong usage.`

// session holds what every command uses.
type session struct {
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	logger *slog.Logger

	logLevel *slog.Level // as asked for, nil if it was not
}

// Main runs a command and returns the exit status.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c commands
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("clerksync"),
		kong.Description(description),
		kong.Vars(config.Variables()),
		kong.Vars{"origins": eventlog.OriginNames(), "reasons": reasonNames(), "probe_timeout": probe.DefaultTimeout.String(), "tools": strings.Join(schema.Tools, ","), "load_elsewhere": strconv.Itoa(loadtest.MostElsewhere)},
		kong.Writers(stdout, stderr),
		kong.Exit(func(status int) { exit = status }), // after --help
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
	if err != nil {
		report(stderr, err)
		return exitFailed
	}
	parser.Model.HelpFlag.Help = "Show this help."
	if len(args) == 0 {
		args = []string{"--help"}
	}
	flagsOfDev(parser)
	if err := ignoreEmptyVariables(parser); err != nil {
		report(stderr, err)
		return exitFailed
	}
	parsed, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		report(stderr, withHint(err, "%s", helpFor(err)))
		return exitUsage
	}
	s := &session{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, logger: newLogger(stderr, c.LogLevel, c.LogFormat), logLevel: c.LogLevel}
	if err := parsed.Run(s); err != nil {
		report(stderr, err)
		if isUsage(err) {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

// ignoreEmptyVariables treats an empty variable as not set: compose files and CI systems
// pass unset ones as empty.
func ignoreEmptyVariables(parser *kong.Kong) error {
	return kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			flag.Tag.Envs = slices.DeleteFunc(slices.Clone(flag.Tag.Envs), func(name string) bool {
				value, set := os.LookupEnv(name)
				return set && value == ""
			})
		}
		return next(nil)
	})
}

// newLogger makes the logger. Without a level, it logs from info on.
func newLogger(w io.Writer, level *slog.Level, format string) *slog.Logger {
	options := &slog.HandlerOptions{}
	if level != nil {
		options.Level = *level
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// printJSON writes v as indented JSON.
func (s *session) printJSON(v any) error {
	enc := json.NewEncoder(s.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printJSONLine writes v as one line of JSON.
func (s *session) printJSONLine(v any) error {
	enc := json.NewEncoder(s.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// oneLine makes a text from outside safe to print on one line of a terminal.
func oneLine(text string) string {
	printable := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	return strings.Join(strings.Fields(printable), " ")
}

// isTerminal reports whether w is a terminal, which /dev/null is not.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// program returns the command that runs this program, for lines to copy.
func program() string {
	if strings.Contains(os.Args[0], "go-build") { // go run
		return "go run ./cmd/clerksync"
	}
	return os.Args[0]
}
