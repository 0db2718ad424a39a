package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/units"
)

// backendAPI is the access of a command to Clerk's Backend API.
type backendAPI struct {
	config.Source `embed:""`
	InstanceID    string `name:"instance-id" env:"CLERK_INSTANCE_ID" placeholder:"INS" help:"Refuse a secret key of another Clerk instance than this, ins_…. Without it, that of the clerksync running here, or of the users in the tables."`
	Rate          int    `name:"rate" placeholder:"N" help:"Requests in ten seconds. Without it, as many as Clerk allows the instance: 1000 with a key sk_live_…, 100 with sk_test_…. The application's own requests count as well."`
}

// client checks the settings and returns a client.
func (b *backendAPI) client(l *local) (*source.Client, error) {
	l.findClerk(&b.Source)
	if b.SecretKey == "" {
		return nil, withHint(usageError("no secret key: CLERK_SECRET_KEY is not set"), "copy it from the Clerk dashboard → API keys")
	}
	if err := config.CheckSecretKey(b.SecretKey); err != nil {
		return nil, usageError("CLERK_SECRET_KEY is " + err.Error())
	}
	if err := config.CheckAPIURL(b.APIURL); err != nil {
		return nil, usageError("CLERK_API_URL: " + err.Error())
	}
	if b.Rate < 0 || b.Rate > maxAPIRate {
		return nil, usageError(fmt.Sprintf("--rate: %d is not between 1 and %d", b.Rate, maxAPIRate))
	}
	pinned := instance{b.InstanceID}
	if err := pinned.resolve(l); err != nil {
		return nil, err
	}
	b.InstanceID = pinned.InstanceID
	return source.NewClient(source.Options{SecretKey: b.SecretKey.Reveal(), URL: b.APIURL, Rate: b.Rate}), nil
}

// maxAPIRate is beyond what any instance is allowed.
const maxAPIRate = 1_000_000

// apiHint returns the next step after an error of the Backend API, or "".
func apiHint(err error) string {
	strangers, ok := errors.AsType[*source.StrangersError](err)
	switch {
	case ok:
		return fmt.Sprintf("if DATABASE_URL is the database of %s, --instance-id %[1]s says so; otherwise set the CLERK_SECRET_KEY of its instance", strangers.InstanceID)
	case errors.Is(err, source.ErrKey):
		return "copy CLERK_SECRET_KEY again from the Clerk dashboard → API keys"
	case errors.Is(err, source.ErrInstance):
		return "set the CLERK_SECRET_KEY of the instance that CLERK_INSTANCE_ID names"
	}
	return ""
}

type backfillCmd struct {
	Restart    bool `name:"restart" help:"Begin again, and do not go on from the checkpoint of a backfill that was stopped."`
	backendAPI `embed:""`
	deployment `embed:""`
}

func (c *backfillCmd) Help() string {
	return `Reads all users, organizations and memberships from Clerk's Backend API and stores each
as a snapshot in the event log, from where the worker applies it. A snapshot is as old as
the entity's updated_at: it never overwrites what a newer webhook wrote, and never revives
what was deleted. So it can run at any time, and beside live traffic.

It writes a checkpoint after every page. One that was stopped, killed or refused by the
rate limit goes on from there when it is run again.

At the end it compares what it read with Clerk's own counts. Exit status 1 when anything
is missing. With --json the last line is an object with users, organizations, memberships
and complete.`
}

func (c *backfillCmd) Run(s *session) error {
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
	bar := c.progress(s, 0, "read")
	b := source.NewBackfill(source.BackfillOptions{
		Client: client, Log: log, Store: st, InstanceID: c.InstanceID, Restart: c.Restart, Logger: bar.logger(s.logger),
	})
	stop := bar.followTotal(func() (uint64, uint64) {
		p := b.Progress()
		return uint64(p.Read.Sum()), uint64(p.Clerk.Sum())
	})
	report, err := b.Run(s.ctx)
	stop()
	if err != nil {
		return c.interrupted(s, err, b.Progress())
	}
	if err := c.print(s, report.Progress, report.Complete()); err != nil {
		return err
	}
	if !c.JSON {
		backlog, err := log.Backlog(s.ctx)
		if err != nil {
			return err
		}
		if backlog.Pending > 0 {
			fmt.Fprintf(s.stdout, "%s not applied yet: clerksync lag shows how far the worker is\n", units.Count(int(backlog.Pending), "event is", "events are"))
		}
	}
	return incomplete(report)
}

type backfillJSON struct {
	Users         int64         `json:"users"` // that were read, as the next two
	Organizations int64         `json:"organizations"`
	Memberships   int64         `json:"memberships"`
	Complete      bool          `json:"complete"`
	Resumed       bool          `json:"resumed"`
	Stored        uint64        `json:"stored"`
	Present       uint64        `json:"present"`
	Clerk         source.Totals `json:"clerk"` // as Clerk counts them
}

func (c *backfillCmd) print(s *session, p source.Progress, complete bool) error {
	if c.JSON {
		return s.printJSONLine(backfillJSON{
			p.Read.Users, p.Read.Organizations, p.Read.Memberships, complete, p.Resumed, p.Stored.Stored, p.Stored.Present, p.Clerk,
		})
	}
	resumed := ""
	if p.Resumed {
		resumed = ", with those of the run that was stopped"
	}
	_, err := fmt.Fprintf(s.stdout, "read %s%s: %d snapshots stored, %d were there already\nClerk counts %s\n",
		totals(p.Read), resumed, p.Stored.Stored, p.Stored.Present, totals(p.Clerk))
	return err
}

func totals(t source.Totals) string {
	return fmt.Sprintf("%s, %s and %s", units.Count(int(t.Users), "user", "users"),
		units.Count(int(t.Organizations), "organization", "organizations"), units.Count(int(t.Memberships), "membership", "memberships"))
}

// incomplete returns the error of a run that did not find everything that Clerk counts.
func incomplete(r *source.Report) error {
	if r.Complete() {
		return nil
	}
	var parts []string
	if r.Missing != (source.Totals{}) {
		parts = append(parts, fmt.Sprintf("Clerk counts %s more than were read", totals(r.Missing)))
	}
	if r.Refused != (source.Totals{}) {
		parts = append(parts, fmt.Sprintf("%s cannot be stored", totals(r.Refused)))
	}
	if n := len(r.Incomplete); n > 0 {
		parts = append(parts, fmt.Sprintf("memberships of %s are missing", units.Count(n, "organization", "organizations")))
	}
	return withHint(fmt.Errorf("the backfill is not complete: %s", strings.Join(parts, ", ")),
		"run it again: entities may have come and gone while it ran; what is stored is not stored twice")
}

// interrupted prints how far a run came and adds to err how to go on.
func (c *backfillCmd) interrupted(s *session, err error, p source.Progress) error {
	if errors.Is(err, context.Canceled) {
		err = errStopped
	}
	if errors.Is(err, store.ErrBackfillRuns) {
		return withHint(err, "wait for it, or stop it: the next one goes on where it was")
	}
	if p.Read.Sum() == 0 {
		return withHint(fmt.Errorf("nothing was published: %w", err), "%s", apiHint(err))
	}
	if c.JSON {
		if printErr := c.print(s, p, false); printErr != nil {
			return printErr
		}
	}
	of := func(read, all int64, name string) string {
		return fmt.Sprintf("%d of %d %s", read, max(read, all), name)
	}
	return withHint(fmt.Errorf("%w: %s, %s and %s are in the event log", err, of(p.Read.Users, p.Clerk.Users, "users"),
		of(p.Read.Organizations, p.Clerk.Organizations, "organizations"), of(p.Read.Memberships, p.Clerk.Memberships, "memberships")),
		"run it again: it goes on from there")
}
