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
	// DefaultTimeout bounds a probe from its beginning to its end.
	DefaultTimeout = 30 * time.Second

	// storedTimeout is how long what was answered may take to be seen in the log: the
	// answer says that it is there, but a replica may be a moment behind.
	storedTimeout = 5 * time.Second

	// lookTimeout bounds a single question to the log.
	lookTimeout = 3 * time.Second
)

const fixLog = "clerksync doctor tells what is wrong with the event log"

// Log is the event log, as far as a probe needs it. *eventlog.Log is one.
type Log interface {
	State(context.Context) (eventlog.State, error)
	FindProbe(ctx context.Context, id string, after uint64) (*eventlog.Message, error)
}

// Workers asks the workers how they are, see [lag.Workers].
type Workers func() ([]lag.Worker, error)

// Probe says what to look at.
type Probe struct {
	URL     string        // public URL of the endpoint
	Secret  string        // its signing secret
	Log     Log           // nil when it cannot be reached
	NoLog   string        // then, why
	Workers Workers       // nil exactly when Log is
	Timeout time.Duration // 0 is [DefaultTimeout]

	testOnlyRoots *x509.CertPool // who is trusted beside the system's authorities
}

// shown is a URL without what may be secret in it.
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

	// Where the log ends now: there may be many probes before.
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
		r.stop(AtLog, "it was taken; what became of it is not known: "+noLog, fixLog)
		return r
	}
	if p.follow(ctx, r, after); r.StoppedAt != "" {
		return r
	}
	r.Times.Queue, r.Times.Total = seconds(time.Since(answered)), seconds(time.Since(began))
	r.OK = true
	return r
}
