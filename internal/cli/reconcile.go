package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/units"
)

type reconcileCmd struct {
	Fix          bool          `name:"fix" help:"Store a repair of every difference in the event log, and wait until it is applied."`
	AllowDeletes bool          `name:"allow-deletes" help:"Go on when Clerk does not have more than 1 % of the rows of a table, and more than 10."`
	Since        time.Duration `name:"since" placeholder:"AGE" help:"Compare only the users that Clerk updated within this time, such as 24h. It does not find users that are deleted at Clerk."`
	backendAPI   `embed:""`
	deployment   `embed:""`
}

func (c *reconcileCmd) Help() string {
	return `Compares everything that Clerk's Backend API returns with the tables, by the updated_at of
each entity:

  missing     at Clerk, and not here
  outdated    an older state is here, such as another role
  deleted     a user or organization that is live here, and that Clerk does not have
  extra       a membership that is live here, and that Clerk does not have
  tombstoned  at Clerk, and deleted here; only clerksync restore lifts a tombstone

An event that is stored and not applied yet is no difference, and neither is a webhook that
is a few seconds late. Neither is a second change within one millisecond, which has the same
updated_at. Rows that were edited by hand are found by clerksync verify.

With --fix it stores snapshots and deletes in the event log, from where the worker applies
them. Before a delete is stored, Clerk has said for this one id that it does not have it.

Exit status 1 when anything differs, or with --fix, is left. With --json each line is a
difference, and the last line an object with missing, outdated, deleted, extra, tombstoned
and fixed, each with the number of users, organizations and memberships, and complete.`
}

// maxDifferencesListed bounds the differences that are printed for people.
const maxDifferencesListed = 1000

type reconciledJSON struct {
	Difference source.DifferenceName `json:"difference"`
	Kind       clerk.Kind            `json:"kind"`
	ClerkID    string                `json:"clerk_id"`
	User       string                `json:"user,omitempty"` // of a membership
	Org        string                `json:"org,omitempty"`
	Fixed      bool                  `json:"fixed"`
}

func (c *reconcileCmd) Run(s *session) error {
	if c.Since < 0 {
		return usageError("--since: " + c.Since.String() + " is negative")
	}
	client, err := c.client(&c.local)
	if err != nil {
		return err
	}
	defer client.Close()
	st, log, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	if err := st.CheckMigrated(s.ctx); err != nil {
		return withHint(err, "run clerksync migrate up")
	}
	var listed []*source.Difference
	var printErr error
	o := source.ReconcileOptions{
		Client: client, Log: log, Store: st, InstanceID: c.InstanceID, Logger: s.logger, Fix: c.Fix, AllowDeletes: c.AllowDeletes,
		Found: func(d *source.Difference) {
			if c.JSON {
				printErr = errors.Join(printErr, s.printJSONLine(reconciledJSON{d.Name, d.Kind, d.ID, d.UserID, d.OrgID, d.Fixed}))
			} else if len(listed) < maxDifferencesListed {
				listed = append(listed, d)
			}
		},
	}
	if c.Since > 0 {
		o.Since = time.Now().Add(-c.Since)
	}
	r := source.NewReconciler(o)
	line := func() string { return "compared " + totals(r.Report().Read) }
	stop := c.progressOf(s, "entities", 0, "compared").followLong(line, func() (uint64, uint64) {
		report := r.Report()
		return uint64(report.Read.Sum()), uint64(report.Clerk.Sum())
	})
	err = r.Run(s.ctx)
	stop()
	report := r.Report()
	if report.Read.Sum() > 0 || err == nil {
		printErr = errors.Join(printErr, c.print(s, &report, listed, err == nil))
	}
	if printErr != nil {
		return printErr
	}
	if err != nil {
		return c.interrupted(err, &report)
	}
	return c.left(&report)
}

func (c *reconcileCmd) print(s *session, r *source.ReconcileReport, listed []*source.Difference, complete bool) error {
	if c.JSON {
		return s.printJSONLine(struct {
			Missing    source.Totals `json:"missing"`
			Outdated   source.Totals `json:"outdated"`
			Deleted    source.Totals `json:"deleted"`
			Extra      source.Totals `json:"extra"`
			Tombstoned source.Totals `json:"tombstoned"`
			Fixed      source.Totals `json:"fixed"`
			Undecided  int64         `json:"undecided"` // events about them are not applied yet
			Complete   bool          `json:"complete"`
		}{r.Missing, r.Outdated, r.Deleted, r.Extra, r.Tombstoned, r.Fixed, r.Undecided, complete})
	}
	for _, d := range listed {
		text := fmt.Sprintf("%-10s  %s", d.Name, d.ID)
		if d.Kind == clerk.KindMembership {
			text += fmt.Sprintf("  (%s in %s)", d.UserID, d.OrgID)
		}
		switch {
		case d.Fixed:
			text += "  fixed"
		case d.Name == source.Tombstoned:
			text += "  → clerksync restore " + d.ID
		}
		fmt.Fprintln(s.stdout, text)
	}
	fmt.Fprintf(s.stdout, "compared %s with the tables\n", totals(r.Read))
	for _, of := range []struct {
		totals source.Totals
		text   string
	}{
		{r.Missing, "missing here"},
		{r.Outdated, "outdated here"},
		{r.Deleted, "live here, and not at Clerk"},
		{r.Extra, "live here, and not at Clerk"},
		{r.Tombstoned, "deleted here, and live at Clerk"},
		{r.Fixed, "fixed"},
	} {
		if of.totals != (source.Totals{}) {
			fmt.Fprintf(s.stdout, "%s: %s\n", of.text, totals(of.totals))
		}
	}
	if r.Undecided > 0 {
		fmt.Fprintf(s.stdout, "not compared, since an event about it is not applied yet: %s\n", units.Count(int(r.Undecided), "entity", "entities"))
	}
	var err error
	if complete && r.Differences() == 0 {
		_, err = fmt.Fprintln(s.stdout, "no difference")
	}
	return err
}

// left returns the error of a run after which Clerk and the tables differ.
func (c *reconcileCmd) left(r *source.ReconcileReport) error {
	left := r.Differences() - r.Fixed.Sum()
	if left == 0 {
		return nil
	}
	differ := fmt.Errorf("the tables differ from Clerk in %s", units.Count(int(left), "entity", "entities"))
	if left == r.Tombstoned.Sum() {
		return withHint(differ, "if the delete was wrong, clerksync restore lifts the tombstone")
	}
	return withHint(differ, "clerksync reconcile --fix repairs what is not tombstoned")
}

// interrupted returns the error of a run that did not end, with how to go on.
func (c *reconcileCmd) interrupted(err error, r *source.ReconcileReport) error {
	many, isMany := errors.AsType[*source.ManyDeletesError](err)
	switch {
	case isMany:
		return withHint(many, "if CLERK_SECRET_KEY is of the instance that this database is of, --allow-deletes goes on")
	case errors.Is(err, source.ErrNotApplied):
		return withHint(errors.New("the repairs are in the event log, and not applied yet"), "clerksync lag shows why; then run it again")
	case errors.Is(err, context.Canceled):
		err = errStopped
	}
	if r.Read.Sum() == 0 {
		return withHint(fmt.Errorf("nothing was compared: %w", err), "%s", apiHint(err))
	}
	return withHint(fmt.Errorf("%w: not everything was compared", err), "run it again: it begins from the start, and what is fixed stays fixed")
}
