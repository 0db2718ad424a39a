package cli

import (
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/signing"
)

type probeCmd struct {
	URL           string        `name:"url" env:"CLERKSYNC_PROBE_URL" placeholder:"URL" help:"Public URL of the endpoint. Without it, the endpoint of the clerksync running here."`
	Secret        config.Secret `name:"secret" env:"CLERK_WEBHOOK_SIGNING_SECRET" placeholder:"WHSEC" help:"Signing secret; of several, comma-separated, the first signs. Without it, that of clerksync dev running here."`
	Timeout       time.Duration `name:"timeout" default:"${probe_timeout}" help:"Time limit for the whole probe."`
	deploymentLog `embed:""`
}

func (c *probeCmd) Help() string {
	return `Sends a signed synthetic event through the public URL, as Svix does, and follows it
until the worker has settled it. Prints the time of every hop, or the hop where it
stopped, the cause, and the fix. No table is touched.

--json prints an object: ok, stopped_at (url, dns, connect, tls, redirect, answer,
unauthorized, unavailable, not_stored, not_applied, log, or "" when ok), cause, fix,
url, svix_id, seq (sequence in the event log), hops (dns_seconds, connect_seconds,
tls_seconds, receive_seconds, queue_seconds, total_seconds; null for a hop that was not
reached), clock_off_seconds (how far, at least, the endpoint's clock is ahead of ours).`
}

func (c *probeCmd) Run(s *session) error {
	if c.Timeout <= 0 {
		return usageError("--timeout is more than 0s")
	}
	url, secret, err := c.endpoint(c.URL, c.Secret)
	if err != nil {
		return err
	}
	if err := signing.CheckURL(url); err != nil {
		return usageError("--url: " + err.Error())
	}
	p := probe.Probe{URL: url, Secret: secret, Timeout: c.Timeout}
	log, done, err := c.openLog(s)
	switch {
	case isUsage(err):
		return err
	case err != nil:
		p.NoLog = err.Error()
	default:
		defer done()
		p.Log, p.Workers = log, func() ([]lag.Worker, error) { return lag.Workers(log) }
	}
	r := p.Run(s.ctx)
	if s.ctx.Err() != nil {
		return errStopped
	}
	if c.JSON {
		if err := s.printJSON(r); err != nil {
			return err
		}
	} else {
		s.printProbe(r)
	}
	if !r.OK {
		return withHint(fmt.Errorf("the probe stopped at %s: %s", r.StoppedAt, oneLine(r.Cause)), "%s", r.Fix)
	}
	return nil
}

// noticeable is the clock difference, in seconds, that is reported: it is measured to
// about one second.
const noticeable = 2

// printProbe prints a line for every hop that the probe passed.
func (s *session) printProbe(r *probe.Result) {
	for _, hop := range []struct {
		name    string
		seconds *float64
	}{
		{"dns", r.Times.DNS},
		{"connect", r.Times.Connect},
		{"tls", r.Times.TLS},
		{"receive", r.Times.Receive},
		{"queue", r.Times.Queue},
		{"total", r.Times.Total},
	} {
		if hop.seconds != nil {
			fmt.Fprintf(s.stdout, "%-8s %9.1f ms\n", hop.name, *hop.seconds*1000)
		}
	}
	if off := r.ClockOff; off != nil && (*off > noticeable || *off < -noticeable) {
		way := "ahead of"
		if *off < 0 {
			way = "behind"
		}
		fmt.Fprintf(s.stdout, "The clock of the endpoint is %.0f s %s this machine's.\n", max(*off, -*off), way)
	}
	if r.OK {
		fmt.Fprintf(s.stdout, "ok: events sent to %s are stored and applied.\n", r.URL)
	}
}
