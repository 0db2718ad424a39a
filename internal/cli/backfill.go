package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/units"
)

// backendAPI is the access of a command to Clerk's Backend API.
type backendAPI struct {
	config.Source `embed:""`
	InstanceID    string `name:"instance-id" env:"CLERK_INSTANCE_ID" placeholder:"INS" help:"Refuse a secret key of another Clerk instance than this, ins_…. Without it, that of the clerksync running here, or of the users in the tables."`
	Rate          *int   `name:"rate" placeholder:"N" help:"Requests in ten seconds. Without it, as many as Clerk allows the instance: 1000 with a key sk_live_…, 100 with sk_test_…. The application's own requests count as well."`
}

// client checks the settings and returns a client.
func (b *backendAPI) client(l *local) (*source.Client, error) {
	l.findClerk(&b.Source)
	if b.SecretKey == "" {
		hint := "copy it from the Clerk dashboard → API keys"
		if _, err := os.Stat(filepath.Join(l.DataDir, sampleState)); err == nil {
			hint += ", or start clerksync dev --sample-data again: it has the made-up Clerk of this folder"
		}
		return nil, withHint(usageError("no secret key: CLERK_SECRET_KEY is not set"), "%s", hint)
	}
	if err := config.CheckSecretKey(b.SecretKey); err != nil {
		return nil, usageError("CLERK_SECRET_KEY is " + err.Error())
	}
	if err := config.CheckAPIURL(b.APIURL); err != nil {
		return nil, usageError("CLERK_API_URL: " + err.Error())
	}
	rate := 0
	if b.Rate != nil {
		if rate = *b.Rate; rate < 1 || rate > maxAPIRate {
			return nil, usageError(fmt.Sprintf("--rate: %d is not between 1 and %d", rate, maxAPIRate))
		}
	}
	pinned := instance{b.InstanceID}
	if err := pinned.resolve(l); err != nil {
		return nil, err
	}
	b.InstanceID = pinned.InstanceID
	return source.NewClient(source.Options{SecretKey: b.SecretKey.Reveal(), URL: b.APIURL, Rate: rate}), nil
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
and complete, which cover a run that was stopped before as well, and with stored and
present, which are of this run only.`
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
	bar := c.progressOf(s, "entities", 0, "read")
	b := source.NewBackfill(source.BackfillOptions{
		Client: client, Log: log, Store: st, InstanceID: c.InstanceID, Restart: c.Restart, Logger: bar.logger(s.logger),
	})
	stop := bar.followLong(func() string { return "read " + far(b.Progress()) }, func() (uint64, uint64) {
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
	Users         int64         `json:"users"` // that were read, as the next two, also by the run that was stopped
	Organizations int64         `json:"organizations"`
	Memberships   int64         `json:"memberships"`
	Complete      bool          `json:"complete"`
	Resumed       bool          `json:"resumed"`
	Stored        uint64        `json:"stored"` // by this run, as the next
	Present       uint64        `json:"present"`
	Clerk         source.Totals `json:"clerk"` // as Clerk counts them
}

func (c *backfillCmd) print(s *session, p source.Progress, complete bool) error {
	if c.JSON {
		return s.printJSONLine(backfillJSON{
			p.Read.Users, p.Read.Organizations, p.Read.Memberships, complete, p.Resumed, p.Stored.Stored, p.Stored.Present, p.Clerk,
		})
	}
	read := "read " + totals(p.Read) + ":"
	if p.Resumed {
		read = "read in all: " + totals(p.Read) + ". This run:"
	}
	_, err := fmt.Fprintf(s.stdout, "%s %s\nClerk counts %s\n", read, snapshots(p.Stored), totals(p.Clerk))
	return err
}

func snapshots(c archive.Counts) string {
	return fmt.Sprintf("%s stored, %s there already", units.Count(c.Stored, "snapshot", "snapshots"), units.Count(c.Present, "was", "were"))
}

// far returns how far a run is.
func far(p source.Progress) string {
	of := func(read, all int64, name string) string {
		return fmt.Sprintf("%d of %d %s", read, max(read, all), name)
	}
	return fmt.Sprintf("%s, %s and %s", of(p.Read.Users, p.Clerk.Users, "users"),
		of(p.Read.Organizations, p.Clerk.Organizations, "organizations"), of(p.Read.Memberships, p.Clerk.Memberships, "memberships"))
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
	nothing := p.Read.Sum() == 0 && p.Stored == (archive.Counts{})
	switch {
	case errors.Is(err, store.ErrBackfillRuns):
		return withHint(err, "wait for it, or stop it: the next one goes on where it was")
	case nothing && errors.Is(err, context.Canceled):
		return withHint(errors.New("stopped before the first page; nothing was stored"), "run it again")
	case nothing:
		return withHint(fmt.Errorf("nothing was stored: %w", err), "%s", apiHint(err))
	case errors.Is(err, context.Canceled):
		err = errStopped
	}
	if c.JSON {
		if printErr := c.print(s, p, false); printErr != nil {
			return printErr
		}
	}
	return withHint(fmt.Errorf("%w: %s are in the event log", err, far(p)), "run it again: it goes on from there")
}
