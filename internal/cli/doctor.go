package cli

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/clerksync/clerksync/internal/alert"
	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/doctor"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/store"
)

type doctorCmd struct {
	Role          []string `name:"role" env:"CLERKSYNC_ROLE" enum:"receiver,worker,api,all" default:"all" help:"Roles whose needs are checked: receiver, worker, api, or all. Several: comma-separated."`
	URL           string   `name:"url" placeholder:"URL" help:"Public URL of the endpoint, to send a probe through it as well. Without it, CLERKSYNC_PROBE_URL if set."`
	TestAlert     bool     `name:"test-alert" help:"Send a test to CLERKSYNC_ALERT_URL as well."`
	JSON          bool     `name:"json" help:"Print JSON."`
	config.Config `embed:""`
}

func (c *doctorCmd) Help() string {
	return `Takes the settings of clerksync serve and checks what they name; without DATABASE_URL
and NATS_URL, the clerksync running here. It changes nothing. A check is ok, a warning,
failed, or unchecked because one before it failed. Exit status 1 when any failed.

With --role api alone it looks for no event log, unless NATS_URL names one. The directory
API is checked where session tokens can be verified: the keys, and whether the login of
DATABASE_URL may read as clerk_reader.

With CLERK_SECRET_KEY it asks Clerk of which instance that key is, and when no events come
it prints a link to the instance's webhook page, which logs in once.

--json prints an object: ok, and checks, each with name, status (ok, warning, failed,
unchecked), seen, and fix.`
}

func (c *doctorCmd) Run(s *session) error {
	o := doctor.Options{Roles: rolesOf(c.Role, &c.Config), Tokens: c.Tokens, Faults: c.CheckSet(), Warning: config.ShortAge(c.MaxAge), Want: app.LogOptions(&c.Log), Logger: s.logger, Process: doctor.Process{Folder: c.DataDir}}
	d := &deployment{local: local{DataDir: c.DataDir}, Database: c.Database, natsFlags: natsFlags{NATSURL: c.NATSURL, NATSAccess: c.NATSAccess}}
	running, err := c.find(d, &o.Process)
	if err != nil {
		return err
	}
	if o.Store, err = d.openStore(s); err != nil {
		o.NoStore = notOpened("postgresql", err)
	} else {
		defer o.Store.Close()
		if o.Reader, err = c.openReader(s, running); err != nil {
			return err
		}
		defer o.Reader.Close()
	}
	if o.Roles == config.RoleAPI && c.NATSURL == "" {
		o.NoLog = &doctor.Check{Name: "event_log", Status: doctor.Unchecked, Seen: "NATS_URL is not set, and the role api alone can do without"}
	} else if log, done, err := d.openLog(s); err != nil {
		o.NoLog = notOpened("event_log", err)
	} else {
		defer done()
		o.Log = log
	}
	if o.Probe, err = c.probe(running); err != nil {
		return err
	}
	if o.Probe != nil {
		if o.NoLog == nil {
			o.Probe.Log, o.Probe.Workers = o.Log, func() ([]lag.Worker, error) { return lag.Workers(o.Log) }
		} else {
			o.Probe.NoLog = o.NoLog.Seen
		}
	}

	if o.Alert, err = c.alert(); err != nil {
		return err
	}
	d.findClerk(&c.Source)
	if c.SecretKey != "" && len(o.Faults) == 0 {
		o.Clerk, o.ClerkURL = source.NewClient(source.Options{SecretKey: c.SecretKey.Reveal(), URL: c.APIURL}), c.APIURL
		defer o.Clerk.Close()
		if o.InstanceID = c.InstanceID; o.InstanceID == "" && running != nil {
			o.InstanceID = running.InstanceID
		}
	}

	report := doctor.Run(s.ctx, o)
	if s.ctx.Err() != nil {
		return errStopped
	}
	if c.JSON {
		if err := s.printJSON(report); err != nil {
			return err
		}
	} else {
		s.printReport(report)
	}
	if !report.OK {
		return fmt.Errorf("%d of %d checks failed", report.Count(doctor.Failed), len(report.Checks))
	}
	return nil
}

// find returns the clerksync running here, nil when there is none.
func (c *doctorCmd) find(d *deployment, p *doctor.Process) (*app.Running, error) {
	running, err := d.running()
	switch {
	case errors.Is(err, app.ErrNotRunning):
		if _, err := app.ReadRunning(c.DataDir); !errors.Is(err, fs.ErrNotExist) {
			p.Gone = d.missing.Error()
		}
		return nil, nil
	case err != nil:
		return nil, err
	}
	p.PID, p.Command, p.AdminURL = running.PID, running.Command, running.AdminURL
	return running, nil
}

// openReader opens the database, which answers, as the directory API does.
func (c *doctorCmd) openReader(s *session, running *app.Running) (*store.Reader, error) {
	o := store.Options{URL: c.Database.URL.Reveal(), Schema: c.Schema, ApplicationName: "clerksync command", MaxConns: 1}
	if o.URL == "" {
		o.URL, o.Schema = running.DatabaseURL, running.Schema
	}
	return store.OpenReader(s.ctx, o)
}

// notOpened returns the check of a database or event log that could not be opened.
func notOpened(name string, err error) *doctor.Check {
	if errors.Is(err, errNoDatabase) {
		return &doctor.Check{Name: name, Status: doctor.Unchecked, Seen: "DATABASE_URL is not set; only a receiver can do without"}
	}
	return &doctor.Check{Name: name, Status: doctor.Failed, Seen: err.Error(), Fix: hintOf(err)}
}

// probe returns the probe to send, nil for none.
func (c *doctorCmd) probe(running *app.Running) (*probe.Probe, error) {
	p := &probe.Probe{URL: c.URL}
	if p.URL == "" {
		p.URL = c.ProbeURL
	}
	switch {
	case len(c.SigningSecrets) > 0:
		p.Secret = c.SigningSecrets[0].Reveal()
	case running != nil:
		p.Secret = running.SigningSecret
	}
	switch {
	case p.URL == "":
		return nil, nil
	case p.Secret == "" && c.URL == "":
		return nil, nil // CLERKSYNC_PROBE_URL is for the receiver
	case p.Secret == "":
		return nil, withHint(usageError("--url needs the signing secret of the endpoint"), "set CLERK_WEBHOOK_SIGNING_SECRET")
	}
	return p, nil
}

// alert returns the sender of the test alert, nil for none.
func (c *doctorCmd) alert() (*alert.Sender, error) {
	switch {
	case !c.TestAlert:
		return nil, nil
	case c.AlertURL == "":
		return nil, withHint(usageError("--test-alert needs the URL that gets alerts"), "set CLERKSYNC_ALERT_URL")
	}
	sender, err := alert.NewSender(c.AlertURL.Reveal(), c.AlertSecret.Reveal())
	if err != nil {
		return nil, usageError("CLERKSYNC_ALERT_SECRET: " + err.Error())
	}
	return sender, nil
}

// printReport prints a line for every check, and its fix on the next.
func (s *session) printReport(r *doctor.Report) {
	for _, check := range r.Checks {
		fmt.Fprintf(s.stdout, "%-9s  %-21s  %s\n", check.Status, check.Name, oneLine(check.Seen))
		if check.Fix != "" {
			fmt.Fprintf(s.stdout, "%-9s  %-21s  → %s\n", "", "", check.Fix)
		}
	}
}
