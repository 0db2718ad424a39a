package receiver

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/signing"
)

// Refused says that the last deliveries were refused. Only requests that look like
// deliveries of Svix count, see [signing.Present]: a scanner's noise neither begins a
// refusal nor ends one. Any delivery that is accepted ends it, so that the replay of an old
// delivery lasts until the next good one.
type Refused struct {
	Count         int    // in a row
	Reason        string // of the last one, as clerksync_refused_total counts it
	Since, LastAt time.Time

	// ClockOff is how far this machine's clock is ahead of the last delivery's, when it
	// was refused for its time; negative when it is behind.
	ClockOff time.Duration
}

// logEvery is the least time between two lines about refusals for one reason.
const logEvery = time.Minute

// refusals keeps what is refused, and logs it.
type refusals struct {
	logger *slog.Logger
	any    atomic.Bool // deliveries are being refused

	mu       sync.Mutex
	now      Refused              // of the present refusal
	loggedAt map[string]time.Time // the last line, by reason
	logged   bool                 // the present refusal has a line
}

// Refused returns what is known about the present refusal, nil when the last delivery was
// accepted or none came yet.
func (r *Receiver) Refused() *Refused {
	r.refusals.mu.Lock()
	defer r.refusals.mu.Unlock()
	if r.refusals.now.Count == 0 {
		return nil
	}
	now := r.refusals.now
	return &now
}

// accepted ends a refusal.
func (f *refusals) accepted(at time.Time) {
	if !f.any.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logged {
		f.logger.Info("deliveries are accepted again", "refused", f.now.Count, "duration", at.Sub(f.now.Since).Round(time.Millisecond))
	}
	f.any.Store(false)
	f.now, f.logged = Refused{}, false
}

// refused counts a delivery that was refused. Its reason is logged at once, and then once
// a minute: an outage refuses thousands a second.
func (f *refusals) refused(a answer, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now.Count == 0 {
		f.now.Since = at
		f.any.Store(true)
	}
	f.now.Count++
	f.now.Reason, f.now.LastAt, f.now.ClockOff = a.refused, at, a.clockOff

	if last, ok := f.loggedAt[a.refused]; ok && at.Sub(last) < logEvery {
		return
	}
	f.loggedAt[a.refused] = at
	text := "deliveries are refused"
	attrs := []any{"reason", a.refused, "count", f.now.Count}
	if f.logged {
		text = "deliveries are still refused"
		attrs = append(attrs, "duration", at.Sub(f.now.Since).Round(time.Millisecond))
	}
	f.logged = true
	if a.clockOff != 0 {
		attrs = append(attrs, "clock_off", a.clockOff)
	}
	if a.err != nil {
		attrs = append(attrs, "err", a.err)
	}
	f.logger.Warn(text, append(attrs, "fix", Fix(a.refused))...)
}

// Fix returns the next step when deliveries are refused for a reason.
func Fix(reason string) string { return fixes[reason] }

var fixes = map[string]string{
	signing.NoHeaders:    "let the proxy in front of clerksync pass the svix headers unchanged",
	signing.BadTimestamp: "let the proxy in front of clerksync pass the svix headers unchanged",
	signing.TooOld:       "let NTP set this machine's clock",
	signing.TooNew:       "let NTP set this machine's clock",
	signing.BadSignature: "set CLERK_WEBHOOK_SIGNING_SECRET to the secret of this endpoint (Clerk dashboard → Webhooks → your endpoint); if it is that, a proxy changes the body",
	ReasonPath:           "correct the URL in the Clerk dashboard → Webhooks → your endpoint: its path is " + clerk.WebhookPath,
	ReasonTooLarge:       "let the NATS server take messages of 2 MB (max_payload); a body over 1 MiB is not Clerk's",
	ReasonBroken:         "check the proxy in front of clerksync, and the network: bodies do not arrive whole within 3 s",
	ReasonBusy:           "run more receivers; if most requests are not Clerk's, limit them in the proxy in front of clerksync",
	ReasonUnavailable:    "run clerksync doctor on this machine: the event log is down, full or slow",
}
