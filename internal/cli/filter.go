package cli

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
)

// selection says which of the stored events a command is about. What is not given
// selects all.
type selection struct {
	Since   string   `name:"since" placeholder:"TIME" help:"Events stored at this time or later: 2026-01-31T15:04:05Z, 2026-01-31 (0:00 UTC), or how long ago: 90s, 30m, 2h, 7d."`
	Until   string   `name:"until" placeholder:"TIME" help:"Events stored before this time, in the same forms."`
	Types   []string `name:"type" placeholder:"GLOB" help:"Types of events: user.created, user.*, *.deleted. Several: comma-separated, or the flag again."`
	User    string   `name:"user" placeholder:"ID" help:"Events about a user and about the user's memberships, by Clerk id, user_…."`
	Org     string   `name:"org" placeholder:"ID" help:"Events about an organization and about its memberships, by Clerk id, org_…."`
	Seq     string   `name:"seq" placeholder:"A..B" help:"Events of these sequences, both included: 5..10, 5.., ..10, or 5."`
	Origins []string `name:"origin" placeholder:"ORIGIN" help:"Events that came into the log this way: ${origins}. Several: comma-separated."`
	Limit   int      `name:"limit" placeholder:"N" help:"Of those, the first N."`
	Last    int      `name:"last" placeholder:"N" help:"Of those, the last N."`
}

// filter reads the flags. What is wrong with them is a [usageError].
func (c *selection) filter(now time.Time) (eventlog.Filter, error) {
	f := eventlog.Filter{Types: c.Types, User: c.User, Org: c.Org, Limit: c.Limit, Last: c.Last}
	wrong := func(format string, v ...any) (eventlog.Filter, error) {
		return eventlog.Filter{}, usageError(fmt.Sprintf(format, v...))
	}
	for _, bound := range []struct {
		flag, text string
		to         *time.Time
	}{{"--since", c.Since, &f.Since}, {"--until", c.Until, &f.Until}} {
		if bound.text == "" {
			continue
		}
		t, ok := parseTime(bound.text, now)
		if !ok {
			return wrong("%s %q is not a time: 2026-01-31T15:04:05Z, 2026-01-31, or how long ago, such as 90s, 30m, 2h, 7d", bound.flag, bound.text)
		}
		*bound.to = t
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return wrong("--since is not before --until: nothing lies between them")
	}
	for _, glob := range c.Types {
		if _, err := path.Match(glob, "user.created"); err != nil || !strings.ContainsAny(glob, ".*?[") {
			return wrong("--type %q is not a type of events: user.created, or a glob such as user.* or *.deleted", glob)
		}
	}
	// Not what was given: it may be an e-mail address, which has no place in a log of commands.
	if kind, ok := clerk.KindOfID(c.User); c.User != "" && (!ok || kind != clerk.KindUser || !clerk.ValidToken(c.User)) {
		return wrong("--user is a Clerk id of the form user_…; clerksync show with an e-mail address tells it")
	}
	if kind, ok := clerk.KindOfID(c.Org); c.Org != "" && (!ok || kind != clerk.KindOrganization || !clerk.ValidToken(c.Org)) {
		return wrong("--org is a Clerk id of the form org_…, not a name or a slug")
	}
	if c.Seq != "" {
		var ok bool
		if f.From, f.To, ok = parseSeq(c.Seq); !ok {
			return wrong("--seq %q is not a range of sequences: 5..10, 5.., ..10, or 5", c.Seq)
		}
		if f.To != 0 && f.From > f.To {
			return wrong("--seq %s: the end comes before the begin", c.Seq)
		}
	}
	for _, name := range c.Origins {
		if !slices.Contains(clerk.Origins, clerk.Origin(name)) {
			return wrong("--origin %q is not one of %s", name, originNames())
		}
		f.Origins = append(f.Origins, clerk.Origin(name))
	}
	switch {
	case c.Limit < 0:
		return wrong("--limit %d: a number of events is not negative", c.Limit)
	case c.Last < 0:
		return wrong("--last %d: a number of events is not negative", c.Last)
	case c.Limit > 0 && c.Last > 0:
		return wrong("--limit takes the first events and --last the last: give one of them")
	}
	if err := f.Validate(); err != nil { // by now there should be nothing left
		return wrong("%v", err)
	}
	return f, nil
}

// originNames is for texts.
func originNames() string {
	var names []string
	for _, o := range clerk.Origins {
		names = append(names, string(o))
	}
	return strings.Join(names, ", ")
}

// parseTime reads a time, a day, or an age.
func parseTime(text string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return now.AddDate(0, 0, -int(n)), err == nil && n > 0
	}
	age, err := time.ParseDuration(text)
	return now.Add(-age), err == nil && age > 0
}

// parseSeq reads a range of sequences; 0 is for a side that is open.
func parseSeq(text string) (from, to uint64, ok bool) {
	first, last, isRange := strings.Cut(text, "..")
	if !isRange {
		last = first
	}
	for _, side := range []struct {
		text string
		to   *uint64
	}{{first, &from}, {last, &to}} {
		if side.text == "" {
			continue
		}
		n, err := strconv.ParseUint(side.text, 10, 64)
		if err != nil || n == 0 {
			return 0, 0, false
		}
		*side.to = n
	}
	return from, to, first != "" || last != ""
}

// nothingSelected is the error of a command whose selection has nothing: it says what
// was asked for, and what there is.
func (s *session) nothingSelected(log *eventlog.Log, f eventlog.Filter) error {
	asked := "no event is stored"
	if text := f.String(); text != "" {
		asked = "no stored event matches " + text
	}
	state, err := log.State(s.ctx)
	if err != nil {
		return fmt.Errorf("%s; what the log holds could not be read: %w", asked, err)
	}
	if state.Events == 0 {
		had := "nothing was ever stored in this log"
		if state.Last > 0 {
			had = fmt.Sprintf("the log is empty, and ended with %d", state.Last)
		}
		return fmt.Errorf("%s: %s; clerksync send puts an event into it", asked, had)
	}
	return fmt.Errorf("%s: the log holds %d events, %d..%d, stored from %s to %s; clerksync events ls shows the last of them",
		asked, state.Events, state.First, state.Last, state.FirstAt.UTC().Format(time.RFC3339), state.LastAt.UTC().Format(time.RFC3339))
}
