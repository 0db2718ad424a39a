package probe

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"net/url"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/signing"
)

const (
	// DefaultTimeout bounds a whole probe.
	DefaultTimeout = 30 * time.Second

	// storedTimeout bounds the wait for an acknowledged probe to be visible in the log: a
	// replica may be behind.
	storedTimeout = 5 * time.Second

	// lookTimeout bounds one request to the log.
	lookTimeout = 3 * time.Second
)

const fixLog = "run clerksync doctor"

// Log is the event log; *[eventlog.Log] implements it.
type Log interface {
	State(context.Context) (eventlog.State, error)
	FindProbe(ctx context.Context, id string, after uint64) (*eventlog.Message, error)
}

// Workers lists the workers, see [lag.Workers].
type Workers func() ([]lag.Worker, error)

// Probe describes a probe.
type Probe struct {
	URL     string        // public URL of the endpoint
	Secret  string        // its signing secret
	Log     Log           // nil when unreachable
	NoLog   string        // why Log is nil
	Workers Workers       // nil when Log is
	Timeout time.Duration // 0 is [DefaultTimeout]

	testOnlyRoots *x509.CertPool // trusted besides the system's authorities
}

// shown returns a URL without the parts that may be secret.
func shown(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// Run sends one probe and follows it to its end.
func (p *Probe) Run(ctx context.Context) *Result {
	timeout := p.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	r := &Result{SvixID: "probe_" + rand.Text()}
	u, err := signing.ParseURL(p.URL)
	if err != nil {
		r.stop(AtURL, "the URL cannot be used: "+err.Error(), "give the URL that is registered in the Clerk dashboard → Webhooks")
		return r
	}
	r.URL = shown(u)

	// The end of the log, so that older probes are skipped.
	var after uint64
	noLog := p.NoLog
	if p.Log != nil {
		look, cancel := context.WithTimeout(ctx, lookTimeout)
		state, err := p.Log.State(look)
		cancel()
		if err != nil {
			noLog = err.Error()
		}
		after = state.Last
	}
	began := time.Now()
	if p.send(ctx, r, u); r.StoppedAt != "" {
		return r
	}
	answered := time.Now()
	if noLog != "" {
		r.stop(AtLog, "it was acknowledged; whether it is applied is unknown: "+noLog, fixLog)
		return r
	}
	if p.follow(ctx, r, after); r.StoppedAt != "" {
		return r
	}
	r.Times.Queue, r.Times.Total = seconds(time.Since(answered)), seconds(time.Since(began))
	r.OK = true
	return r
}
