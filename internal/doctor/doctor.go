package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/clerksync/clerksync/internal/alert"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/store"
)

const (
	// askTimeout bounds every request.
	askTimeout = 5 * time.Second

	// clockTolerance is by how much two clocks may differ. Under NTP they differ by
	// milliseconds, and a lag is only as exact as the clocks.
	clockTolerance = time.Second
)

// Options name the things to check. A nil one cannot be reached, for the reason beside it.
type Options struct {
	Roles   config.Roles // whose needs are checked
	Faults  config.Faults
	Warning string // about the retention, see config.ShortAge

	Process Process // the clerksync running here

	Store   *store.Store
	NoStore *Check // why it is nil

	Reader *store.Reader // of the directory API; nil without a database
	Tokens config.Tokens

	Log   *eventlog.Log
	NoLog *Check           // why it is nil
	Want  eventlog.Options // how the log is configured

	Clerk      *source.Client // nil: Clerk is not asked
	ClerkURL   string         // of the Backend API
	InstanceID string         // whose events the endpoint takes; "" for any

	Probe  *probe.Probe  // nil: none is sent
	Alert  *alert.Sender // nil: no test alert is sent
	Logger *slog.Logger
}

// Run runs all checks.
func Run(ctx context.Context, o Options) *Report {
	r := &Report{}
	if len(o.Faults) > 0 {
		var texts []string
		for _, f := range o.Faults {
			texts = append(texts, f.String())
		}
		r.add("configuration", Failed, strings.Join(texts, "; "), "correct the variables; clerksync serve refuses to start like this")
	} else if o.Warning != "" {
		r.add("configuration", Warning, o.Warning, "raise it, and restart clerksync serve")
	} else {
		r.ok("configuration", "what is set can be used")
	}
	o.Process.look(ctx, r)
	checkPostgreSQL(ctx, r, o)
	checkLog(ctx, r, o)
	if !checkSecretKey(ctx, r, o) {
		o.Clerk = nil
	}
	checkDirectory(ctx, r, o)
	checkLag(ctx, r, o)
	checkProbe(ctx, r, o)
	checkAlert(ctx, r, o)
	r.OK = r.Count(Failed) == 0
	return r
}

// checkClock compares a server's clock with this machine's.
func checkClock(r *Report, name, whose string, off time.Duration) {
	if off.Abs() <= clockTolerance {
		r.ok(name, "the clock of "+whose+" agrees with this machine's")
		return
	}
	way := "ahead of"
	if off < 0 {
		way = "behind"
	}
	r.add(name, Warning, fmt.Sprintf("the clock of %s is %s %s this machine's: lags are wrong by as much", whose, off.Abs().Round(100*time.Millisecond), way),
		"let NTP set both clocks")
}

func checkProbe(ctx context.Context, r *Report, o Options) {
	if o.Probe == nil {
		return
	}
	p := o.Probe.Run(ctx)
	if p.OK {
		r.ok("probe", fmt.Sprintf("what is sent to %s is stored and applied, in %.1f ms", p.URL, *p.Times.Total*1000))
		return
	}
	r.add("probe", Failed, fmt.Sprintf("stopped at %s: %s", p.StoppedAt, p.Cause), p.Fix)
}

func checkAlert(ctx context.Context, r *Report, o Options) {
	if o.Alert == nil {
		return
	}
	if status, err := o.Alert.Send(ctx, alert.NewTest()); err == nil {
		r.ok("alert", fmt.Sprintf("the test alert was answered with %d", status))
	} else {
		r.add("alert", Failed, "the test alert did not arrive: "+err.Error(), "correct CLERKSYNC_ALERT_URL, or what answers there")
	}
}
