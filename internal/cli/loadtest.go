package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/loadtest"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/units"
)

var errNotHeld = errors.New("the load was not held")

type loadtestCmd struct {
	URL           string        `arg:"" name:"url" optional:"" help:"URL of the endpoint. Without it, that of the clerksync running here."`
	Secret        config.Secret `name:"secret" env:"CLERK_WEBHOOK_SIGNING_SECRET" placeholder:"WHSEC" help:"Signing secret; of several, comma-separated, the first signs. Without it, that of clerksync dev running here."`
	Rate          float64       `name:"rate" default:"100" help:"Events per second, sent whether or not the last ones are answered. 100 is what Clerk's API allows an instance to change."`
	Closed        bool          `name:"closed" help:"Instead of a rate, each connection sends its next event as soon as the last one is answered."`
	For           time.Duration `name:"for" default:"30s" help:"How long events are sent."`
	Connections   int           `name:"connections" default:"64" help:"Connections, each with one request at a time."`
	BodySize      int           `name:"body-size" default:"2048" help:"Size of a body in bytes. Clerk's users take 2 to 4 KB."`
	Users         int           `name:"users" placeholder:"N" help:"Send user events of N made-up people instead of probes: rows are written, and deleted at the end."`
	InstanceID    string        `name:"instance-id" env:"CLERK_INSTANCE_ID" placeholder:"INS" help:"Clerk instance that the user events name, where the endpoint takes those of one only."`
	Delete        string        `name:"delete" placeholder:"RUN" help:"Send nothing but the deletes of the --users people of an earlier run that was killed, user_loadtest_RUN_…."`
	Unlimited     bool          `name:"unlimited" help:"Allow more than ${load_elsewhere} events per second to a host other than this machine."`
	Yes           bool          `name:"yes" help:"Do not ask before sending to a host other than this machine."`
	deploymentLog `embed:""`
}

func (c *loadtestCmd) Help() string {
	return `Sends signed synthetic events to your own deployment and prints the rate that it took,
the time of the answers, and the lag until a worker had settled an event. A probe goes
first: it finds a wrong URL or secret, a proxy in the way, and a missing worker.

The events are probes. They take the whole way of a webhook and the worker ignores them:
no table changes, and PostgreSQL is not measured. With --users they are user.created and
user.updated of made-up people (user_loadtest_…, …@loadtest.invalid), whom user.deleted
removes at the end, also after Ctrl-C. A tombstone of each stays: the rows with only ids,
out of the view active_users, and a head. Either way the events stay in the event log
until its retention removes them.

The time of an answer counts from the moment at which the event was due, so that a stall
shows in every event that had to wait for it. The lag is that of one event in 10 ms,
by the feed of clerksync tail and this machine's clock. It needs NATS_URL, or the clerksync
running here. Exit status 1 when the rate was not held (every
event sent within 105 % of the time, and 95 % of them accepted), an event was refused, or
events wait before the worker.

--json prints an object, null is unknown: url, traffic (probes, users), complete (false
after Ctrl-C), held, limit (this_machine, connections, receiver, worker, or ""), verdict,
fix, target_per_second, accepted_per_second, seconds, connections, body_bytes, sent,
accepted, failed, not_sent, answers (each status, reason, events), answer_seconds (from
when an event was due) and service_seconds (from when it was sent): each p50, p90, p99,
max; end_to_end_seconds (p50, p99, events), end_to_end_unknown (why), pending (stored and
not settled after the last answer), settled_after_seconds, settled_per_second, left
(events, run, tombstones, people_alive).`
}

func (c *loadtestCmd) Run(s *session) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.URL == "" {
		running, err := c.running()
		if err != nil {
			return withHint(fmt.Errorf("no endpoint: no URL is given, and clerksync is %w", err), "give the URL, or start clerksync dev")
		}
		c.URL = running.Endpoint
	}
	if err := signing.CheckURL(c.URL); err != nil {
		return usageError("the URL cannot be used: " + err.Error())
	}
	url, secret, err := c.endpoint(c.URL, c.Secret)
	if err != nil {
		return err
	}
	o := loadtest.Options{
		URL: url, Secret: secret, Rate: c.Rate, For: c.For, Connections: c.Connections, BodySize: c.BodySize, People: c.Users, InstanceID: c.InstanceID,
	}
	if c.Closed {
		o.Rate = 0
	}
	if err := c.allow(s, o); err != nil {
		return err
	}
	log, done, err := c.openLog(s)
	switch {
	case isUsage(err):
		return err
	case err != nil:
		o.NoLog = err.Error()
	default:
		defer done()
		o.Log = log
	}
	test, err := loadtest.New(o)
	if err != nil {
		return usageError(err.Error())
	}
	if c.Delete != "" {
		return c.deletePeople(s, test)
	}
	stop := c.progressOf(s, "events", uint64(o.Rate*o.For.Seconds()), "sent").showLoad(test)
	r, err := test.Run(s.ctx)
	stop()
	if r != nil {
		if c.JSON {
			if err := s.printJSON(r); err != nil {
				return err
			}
		} else {
			printLoad(s.stdout, r, err == nil)
		}
	}
	switch {
	case err != nil:
		return loadError(err)
	case r.Left.Alive > 0:
		return c.notDeleted(r.Left)
	case r.Limit != "":
		return errNotHeld // the verdict says why
	case r.Failed > 0:
		return fmt.Errorf("%d of %d events were not accepted", r.Failed, r.Sent)
	}
	return nil
}

// loadError returns the error of a run as the user sees it.
func loadError(err error) error {
	if failure, ok := errors.AsType[*loadtest.Failure](err); ok {
		return withHint(failure, "%s", failure.Fix)
	}
	return errStopped
}

// deletePeople deletes the people of an earlier run.
func (c *loadtestCmd) deletePeople(s *session, test *loadtest.Test) error {
	left, err := test.Delete(s.ctx, c.Delete)
	switch {
	case err != nil:
		return loadError(err)
	case left.Alive > 0:
		return c.notDeleted(left)
	case c.JSON:
		return s.printJSON(left)
	}
	_, err = fmt.Fprintf(s.stdout, "%s of the run %s deleted.\n", units.Count(left.Tombstones, "made-up person", "made-up people"), left.Run)
	return err
}

func (c *loadtestCmd) notDeleted(left loadtest.Left) error {
	return withHint(fmt.Errorf("%d made-up people could not be deleted", left.Alive),
		"when the endpoint answers again: clerksync loadtest URL --users %d --delete %s", c.Users, left.Run)
}

// check checks the flags.
func (c *loadtestCmd) check() error {
	switch {
	case !c.Closed && !(c.Rate > 0 && c.Rate <= loadtest.MostRate):
		return usageError(fmt.Sprintf("--rate is more than 0 and at most %d, which one process can send; for more, run several", loadtest.MostRate))
	case c.For < time.Second || c.For > loadtest.MostFor:
		return usageError("--for is from 1s to 1h")
	case !c.Closed && c.Rate*c.For.Seconds() < 1:
		return usageError("--rate and --for give no event")
	case c.Connections < 1 || c.Connections > loadtest.MostConnections:
		return usageError(fmt.Sprintf("--connections is from 1 to %d", loadtest.MostConnections))
	case c.BodySize < 0 || c.BodySize > clerk.MaxBody:
		return usageError(fmt.Sprintf("--body-size is at most %d: the endpoint takes no larger body", clerk.MaxBody))
	case c.Delete != "" && (c.Users == 0 || !clerk.ValidToken(c.Delete)):
		return usageError("--delete takes the run from the ids user_loadtest_RUN_…, and --users the number of people it had")
	case c.Users < 0 || c.Users > loadtest.MostPeople:
		return usageError(fmt.Sprintf("--users is at most %d: each leaves a tombstone, and memory in the event log", loadtest.MostPeople))
	}
	return nil
}

// allow asks before anything is sent to a deployment that may serve people.
func (c *loadtestCmd) allow(s *session, o loadtest.Options) error {
	if loadtest.IsLoopback(o.URL) {
		return nil
	}
	if !c.Unlimited && (c.Closed || o.Rate > loadtest.MostElsewhere) {
		return usageError(fmt.Sprintf("more than %d events per second, or --closed, to a host other than this machine: a deployment that is overloaded refuses Clerk's events too, and Clerk's API lets an instance make about 100 changes a second; --unlimited allows it", loadtest.MostElsewhere))
	}
	rate := units.Rate(o.Rate) + " for " + units.Duration(o.For)
	if c.Closed {
		rate = "as many as it takes for " + units.Duration(o.For)
	}
	what := "events that change no row"
	if o.People > 0 {
		what = fmt.Sprintf("events of %d made-up people, whose tombstones stay", o.People)
	}
	u, _ := signing.ParseURL(o.URL)
	return s.confirm(c.Yes, fmt.Sprintf("Send %s, %s, to %s?", what, rate, u.Host))
}

// showLoad draws the progress of a load test until it is stopped.
func (p *progress) showLoad(test *loadtest.Test) (stop func()) {
	line := func() string {
		now := test.Progress()
		return fmt.Sprintf("clerksync: %s: %d answered, p99 %s, %d failed", now.Phase, now.Answered, units.Duration(now.P99), now.Failed)
	}
	return p.followLong(line, func() (uint64, uint64) {
		now := test.Progress()
		p.bar.Describe(fmt.Sprintf("%s, p99 %s, %d failed", now.Phase, units.Duration(now.P99), now.Failed))
		return now.Answered, 0
	})
}

// printLoad prints a result for people, with its verdict unless an error tells more.
func printLoad(w io.Writer, r *loadtest.Result, verdict bool) {
	row := func(label, format string, v ...any) {
		fmt.Fprintf(w, "%-*s%s\n", labelWidth, label, fmt.Sprintf(format, v...))
	}
	if verdict {
		fmt.Fprintln(w, oneLine(r.Verdict))
		if r.Fix != "" {
			fmt.Fprintln(w, "  → "+r.Fix)
		}
		fmt.Fprintln(w)
	}
	asked := ""
	if r.Target != nil {
		asked = " of " + units.Rate(*r.Target)
	}
	row("rate", "%s%s: %s accepted in %s", units.Rate(r.Rate), asked, units.Count(r.Accepted, "event", "events"), units.Seconds(r.Seconds))
	if r.NotSent > 0 {
		row("", "%d were due and not sent: every connection was busy", r.NotSent)
	}
	times := func(label string, l *loadtest.Latency, from string) {
		if l != nil {
			row(label, "p50 %s  p90 %s  p99 %s  max %s  after it was %s", units.Seconds(l.P50), units.Seconds(l.P90), units.Seconds(l.P99), units.Seconds(l.Max), from)
		}
	}
	if r.Target != nil {
		times("answer", r.Answer, "due")
		times("", r.Service, "sent")
	} else {
		times("answer", r.Service, "sent")
	}
	var answers []string
	for _, a := range r.Answers {
		answers = append(answers, fmt.Sprintf("%s: %d", oneLine(strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, a.Reason))), a.Events))
	}
	row("answers", "%s", strings.Join(answers, ", "))
	if r.EndToEnd != nil {
		row("end to end", "p50 %s  p99 %s  of %d events", units.Seconds(r.EndToEnd.P50), units.Seconds(r.EndToEnd.P99), r.EndToEnd.Events)
	} else {
		row("end to end", "not known: %s", oneLine(r.NoEndToEnd))
	}
	if r.Pending != nil {
		row("pending", "%s", pendingLeft(r))
	}
	row("left", "%s", leftText(r.Left))
}

func pendingLeft(r *loadtest.Result) string {
	text := fmt.Sprintf("%d after the last answer", *r.Pending)
	switch {
	case *r.Pending == 0:
	case r.SettledAfter == nil:
		text += ", and not all were settled at the end"
	default:
		text += ", all settled " + units.Seconds(*r.SettledAfter) + " later"
	}
	return text
}

func leftText(l loadtest.Left) string {
	text := units.Count(l.Events, "event", "events") + " in the event log, until its retention"
	if l.Tombstones > 0 {
		text += fmt.Sprintf("; %s, user_loadtest_%s_…", units.Count(l.Tombstones, "tombstone", "tombstones"), l.Run)
	}
	return text
}
