package cli

import (
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/tail"
	"github.com/clerksync/clerksync/internal/units"
)

type tailCmd struct {
	Types         []string `name:"type" placeholder:"GLOB" help:"Types: user.created, user.*, *.deleted. Several: comma-separated, or repeat the flag."`
	User          string   `name:"user" placeholder:"ID" help:"Events of a user and of the user's memberships, by Clerk id, user_…."`
	Org           string   `name:"org" placeholder:"ID" help:"Events of an organization and of its memberships, by Clerk id, org_…."`
	deploymentLog `embed:""`
}

func (c *tailCmd) Help() string {
	return `Prints a line for every event that the running processes receive, until Ctrl-C: the time
of its outcome, type, entity, outcome, and the time from its receipt to the outcome. The
outcome is applied, stale (the rows have a newer version), duplicate, ignored (of a type
that is not synced) or parked (it became a dead letter). An event that is not applied
after 2 s is shown as stored, and again when it is applied. A refused delivery is shown
with its answer, but not with a filter: nothing in it is trusted.

Of more than 200 a second with one outcome, a process shows the number only. The lines
begin now: clerksync events ls lists earlier events. A process that restarts is found
again within a second or so.

--json prints an object a line: at, outcome (also stored, refused, not_shown), reason,
type, entity, user, org, origin, svix_id ("" when it has none), seq (in the event log, 0
when it is not there), duration_ms (null when unknown), status and answer (of a refused
delivery), not_shown (the number, when the outcome is not_shown).`
}

// reconnectEvery is the pause between two attempts to find the process again.
const reconnectEvery = 500 * time.Millisecond

func (c *tailCmd) Run(s *session) error {
	for _, glob := range c.Types {
		if err := clerk.CheckGlob(glob); err != nil {
			return usageError("--type: " + err.Error())
		}
	}
	show := func(e tail.Event) error {
		switch {
		case e.Outcome != tail.NotShown && !c.wants(e):
			return nil
		case c.JSON:
			return s.printJSONLine(e)
		}
		return s.printTail(e)
	}
	log, done, err := c.find(s)
	if err != nil {
		return err
	}
	for begun := "following"; ; begun = "connected again, following" {
		err = c.follow(s, log, begun, show)
		done()
		if !errors.Is(err, tail.ErrDisconnected) {
			return err
		}
		fmt.Fprintln(s.stderr, "clerksync: the connection was lost, waiting for it")
		if log, done = c.findAgain(s); log == nil {
			return nil
		}
	}
}

// find opens the log. A copy of the flags looks for the process: they remember what they
// have found.
func (c *tailCmd) find(s *session) (*eventlog.Log, func(), error) {
	d := c.deploymentLog
	return d.openLog(s)
}

// findAgain opens the log as soon as that works. It returns nil when the user ends it.
func (c *tailCmd) findAgain(s *session) (*eventlog.Log, func()) {
	for {
		select {
		case <-s.ctx.Done():
			return nil, nil
		case <-time.After(reconnectEvery):
		}
		if log, done, err := c.find(s); err == nil {
			return log, done
		}
	}
}

// follow shows the events until the connection is lost or the user ends it.
func (c *tailCmd) follow(s *session, log *eventlog.Log, begun string, show func(tail.Event) error) error {
	w, err := tail.Watch(log.Conn())
	if err != nil {
		return err
	}
	if w.Alone {
		begun = "no process answers yet, waiting for one"
	}
	fmt.Fprintf(s.stderr, "clerksync: %s; Ctrl-C ends it\n", begun)
	return w.Run(s.ctx, show)
}

// wants reports whether the filter selects an event.
func (c *tailCmd) wants(e tail.Event) bool {
	if c.User != "" && e.User != c.User || c.Org != "" && e.Org != c.Org {
		return false
	}
	for _, glob := range c.Types {
		if ok, _ := path.Match(glob, e.Type); ok {
			return true
		}
	}
	return len(c.Types) == 0
}

// printTail prints an event for people.
func (s *session) printTail(e tail.Event) error {
	_, err := fmt.Fprintln(s.stdout, tailLine(e, lookOf(s).colour))
	return err
}

// tailStyles are the colours of the outcomes.
var tailStyles = map[tail.Outcome]string{
	tail.Stored: yellow, tail.Applied: green, tail.Stale: faint, tail.Duplicate: faint, tail.Ignored: faint, tail.Parked: red, tail.Refused: red,
}

// tailLine formats an event for people.
func tailLine(e tail.Event, colour bool) string {
	if e.Outcome == tail.NotShown {
		return fmt.Sprintf("… %s not shown", units.Count(e.NotShown, "event", "events"))
	}
	style, end := "", ""
	if colour {
		style, end = tailStyles[e.Outcome], plain
	}
	at := e.At.UTC().Format("15:04:05Z")
	reason := e.Reason
	if e.Outcome == tail.Refused {
		reason = fmt.Sprintf("%d: %s", e.Status, oneLine(e.Answer))
	}
	if e.Outcome == tail.Refused && e.Type == "" { // no columns: a line that fits
		return fmt.Sprintf("%s  %srefused%s with %s", at, style, end, reason)
	}
	took := "-"
	if e.DurationMS != nil {
		took = units.Seconds(*e.DurationMS / 1000)
	}
	line := fmt.Sprintf("%s  %-30s  %-34s  %s%-9s%s  %7s", at, orDash(e.Type), orDash(e.Entity), style, e.Outcome, end, took)
	if reason != "" {
		line += "  " + reason
	}
	return line
}
