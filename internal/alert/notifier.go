package alert

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/clerksync/clerksync/internal/background"
	"github.com/clerksync/clerksync/internal/lag"
)

const (
	// interval is the time between two steps, as between two readings of the watch.
	interval = 5 * time.Second

	// A verdict that lasts for settle is sent.
	settle = time.Minute

	// An alert is tried at most tries times. The pause before the second try is
	// firstPause, and each later one is twice as long: the last try is ten minutes after
	// the first.
	tries      = 8
	firstPause = 5 * time.Second
)

// Options configure a [Notifier].
type Options struct {
	Sender   *Sender
	Latest   func() *lag.Reading // nil before the first reading
	Registry prometheus.Registerer
	Logger   *slog.Logger
}

// Notifier sends an alert for every verdict that lasts.
type Notifier struct {
	sender *Sender
	latest func() *lag.Reading
	alerts *prometheus.CounterVec
	logger *slog.Logger

	told settled
	open *Alert // not delivered yet; nil for none
	try  int    // of open
	next time.Time
	down bool // the last try failed

	loop background.Loop
}

// New returns a notifier that has not started.
func New(o Options) *Notifier {
	n := &Notifier{
		sender: o.Sender, latest: o.Latest, logger: o.Logger,
		alerts: promauto.With(o.Registry).NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_alerts_total",
			Help: "Tries to send an alert to CLERKSYNC_ALERT_URL, by result: sent, failed.",
		}, []string{"result"}),
	}
	n.alerts.WithLabelValues("sent")
	n.alerts.WithLabelValues("failed")
	return n
}

// Start begins to follow the verdict and returns.
func (n *Notifier) Start() { n.loop.Start(0, interval, n.step) }

// Stop ends it, and a try in progress; it sends nothing. It can be called again, and
// before Start.
func (n *Notifier) Stop(ctx context.Context) error { return n.loop.Stop(ctx) }

// step reads the verdict, and sends what is due. A new alert replaces one that could
// not be delivered: its verdict is no longer true.
func (n *Notifier) step(ctx context.Context) {
	r := n.latest()
	if r == nil {
		return
	}
	now := time.Now()
	if previous := n.told.state; n.told.due(r, now) {
		n.open, n.try, n.next = newAlert(r, previous, now), 0, now
	}
	if n.open == nil || now.Before(n.next) {
		return
	}
	_, err := n.sender.Send(ctx, n.open)
	if ctx.Err() != nil {
		return
	}
	n.note(err)
	n.try++
	n.next = time.Now().Add(firstPause << (n.try - 1))
	if err == nil || n.try == tries {
		n.open = nil
	}
}

// note counts a try, and logs when tries begin to fail and when they succeed again.
func (n *Notifier) note(err error) {
	result := "sent"
	switch {
	case err != nil && !n.down:
		n.logger.Warn("an alert was not sent: check CLERKSYNC_ALERT_URL", "err", err)
	case err == nil && n.down:
		n.logger.Info("alerts are sent again")
	}
	if n.down = err != nil; n.down {
		result = "failed"
	}
	n.alerts.WithLabelValues(result).Inc()
}

func newAlert(r *lag.Reading, previous lag.State, now time.Time) *Alert {
	return &Alert{
		Type: typeVerdict, State: r.State, Cause: r.Cause, Why: r.Why, Verdict: r.Verdict, Since: r.Since, Fix: r.Fix,
		Previous: previous, At: now.UTC(), id: newID(),
	}
}
