package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// selection is an [eventlog.Query] as flags.
type selection struct {
	Since   string   `name:"since" placeholder:"TIME" help:"Stored at this time or later: 2026-01-31T15:04:05Z, 2026-01-31 (0:00 UTC), or an age: 90s, 30m, 2h, 7d."`
	Until   string   `name:"until" placeholder:"TIME" help:"Stored before this time, in the same forms."`
	Types   []string `name:"type" placeholder:"GLOB" help:"Types: user.created, user.*, *.deleted. Several: comma-separated, or repeat the flag."`
	User    string   `name:"user" placeholder:"ID" help:"Events of a user and of the user's memberships, by Clerk id, user_…."`
	Org     string   `name:"org" placeholder:"ID" help:"Events of an organization and of its memberships, by Clerk id, org_…."`
	Seq     string   `name:"seq" placeholder:"A..B" help:"Sequences, both ends included: 5..10, 5.., ..10, or 5."`
	Origins []string `name:"origin" placeholder:"ORIGIN" help:"Origins: ${origins}. Several: comma-separated."`
	Limit   int      `name:"limit" placeholder:"N" help:"Of those, the first N."`
	Last    int      `name:"last" placeholder:"N" help:"Of those, the last N."`
}

// filter parses the flags. Its errors name the flag, and are of wrong use.
func (c *selection) filter() (eventlog.Filter, error) {
	q := eventlog.Query(*c)
	f, err := q.Filter(time.Now())
	if fault, ok := errors.AsType[*eventlog.FilterError](err); ok {
		return f, withHint(usageError("--"+fault.Error()), "%s", fault.Hint)
	}
	return f, err
}

// nothingSelected returns the error of a command that selected no event, with what the
// log holds.
func (s *session) nothingSelected(log *eventlog.Log, f eventlog.Filter) error {
	asked := "no event is stored"
	if text := f.String(); text != "" {
		asked = "no stored event matches " + text
	}
	state, err := log.State(s.ctx)
	if err != nil {
		return fmt.Errorf("%s, and the log's state could not be read: %w", asked, err)
	}
	if state.Events == 0 {
		had := "nothing was ever stored in this log"
		if state.Last > 0 {
			had = fmt.Sprintf("the log is empty; its last sequence was %d", state.Last)
		}
		return withHint(fmt.Errorf("%s: %s", asked, had), "clerksync send puts an event into it")
	}
	return withHint(fmt.Errorf("%s: the log holds %d events, %d..%d, stored from %s to %s",
		asked, state.Events, state.First, state.Last, state.FirstAt.UTC().Format(time.RFC3339), state.LastAt.UTC().Format(time.RFC3339)),
		"clerksync events ls shows the last of them")
}
