package receiver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// clock is a clock that tests move.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(now.UnixMilli())
	return c
}

func (c *clock) now() time.Time       { return time.UnixMilli(c.ms.Load()) }
func (c *clock) pass(d time.Duration) { c.ms.Add(d.Milliseconds()) }
func (c *clock) set(o *Options)       { o.testOnlyNow = c.now }

// logLine is what a test reads of a log line.
type logLine struct {
	Level    string        `json:"level"`
	Text     string        `json:"msg"`
	Reason   string        `json:"reason"`
	Fix      string        `json:"fix"`
	Err      string        `json:"err"`
	Count    int           `json:"count"`
	Refused  int           `json:"refused"`
	Duration time.Duration `json:"duration"`
	ClockOff time.Duration `json:"clock_off"`
}

// logged returns all log lines.
func (e *endpoint) logged() []logLine {
	e.t.Helper()
	var lines []logLine
	for text := range strings.Lines(e.logs.String()) {
		var l logLine
		require.NoError(e.t, json.Unmarshal([]byte(text), &l))
		lines = append(lines, l)
	}
	return lines
}

// TestRefused: what looks like a delivery and is refused counts, in a row, until one is
// accepted.
func TestRefused(t *testing.T) {
	t.Parallel()
	c := newClock()
	e := startOn(t, &recorder{}, c.set)
	deliver := func(secret string, signedAt time.Time) int {
		body := user("user_1")
		return e.post(headers(secret, "msg_1", signedAt, body), bytes.NewReader(body)).status
	}
	require.Nil(t, e.receiver.Refused(), "none came yet")

	began := c.now()
	require.Equal(t, 401, deliver(secretX, c.now()))
	require.Equal(t, &Refused{Count: 1, Reason: "bad_signature", Since: began, LastAt: began}, e.receiver.Refused())
	c.pass(time.Second)
	require.Equal(t, 401, deliver(secretA, c.now().Add(-time.Hour)))
	require.Equal(t, &Refused{Count: 2, Reason: "too_old", Since: began, LastAt: c.now(), ClockOff: time.Hour}, e.receiver.Refused())
	c.pass(time.Second)
	require.Equal(t, 401, deliver(secretA, c.now().Add(time.Hour)))
	require.Equal(t, &Refused{Count: 3, Reason: "too_new", Since: began, LastAt: c.now(), ClockOff: -time.Hour}, e.receiver.Refused())

	c.pass(time.Second)
	require.Equal(t, 204, deliver(secretA, c.now()))
	require.Nil(t, e.receiver.Refused())

	// The other spelling counts as well, and so does what is accepted without being stored.
	h := headers(secretX, "msg_1", c.now(), nil)
	require.Equal(t, 401, e.post(http.Header{
		"Webhook-Id": h["Svix-Id"], "Webhook-Timestamp": h["Svix-Timestamp"], "Webhook-Signature": h["Svix-Signature"],
	}, http.NoBody).status)
	require.Equal(t, 1, e.receiver.Refused().Count)
	body := event("session.created", `{"id":"sess_1"}`)
	require.Equal(t, 204, e.post(headers(secretA, "msg_2", c.now(), body), bytes.NewReader(body)).status)
	require.Nil(t, e.receiver.Refused())
}

// TestNoiseIsNoRefusal: it neither begins one nor ends one.
func TestNoiseIsNoRefusal(t *testing.T) {
	t.Parallel()
	e := startOn(t, &recorder{})
	body := user("user_1")
	noise := func() {
		good := headers(secretA, "msg_1", now, body)
		for _, h := range []http.Header{
			{},
			{"Svix-Id": good["Svix-Id"], "Svix-Timestamp": good["Svix-Timestamp"]},
			{"Svix-Id": good["Svix-Id"], "Webhook-Timestamp": good["Svix-Timestamp"], "Webhook-Signature": good["Svix-Signature"]},
		} {
			require.Equal(t, 401, e.post(h, bytes.NewReader(body)).status)
		}
		r, err := e.try("GET", good, http.NoBody)
		require.NoError(t, err)
		require.Equal(t, 405, r.status)
	}
	noise()
	require.Nil(t, e.receiver.Refused())
	require.Equal(t, 401, e.deliver(secretX, "msg_1", body))
	noise()
	require.Equal(t, 1, e.receiver.Refused().Count)
	require.Equal(t, 204, e.deliver(secretA, "msg_1", body))
	noise()
	require.Nil(t, e.receiver.Refused())
	require.Len(t, e.logged(), 2, "%s", e.logs)
}

// outage is a log that can be switched off.
type outage struct {
	recorder
	err atomic.Pointer[error]
}

func (o *outage) Append(ctx context.Context, e *clerk.Event) (eventlog.Stored, error) {
	if err := o.err.Load(); err != nil {
		return eventlog.Stored{}, *err
	}
	return o.recorder.Append(ctx, e)
}

func (o *outage) Park(ctx context.Context, e *clerk.Event, d eventlog.Death) error {
	if err := o.err.Load(); err != nil {
		return *err
	}
	return o.recorder.Park(ctx, e, d)
}

// TestAnOutageIsLoggedOnceAMinute: when it begins, every minute with the count so far, and
// when it ends.
func TestAnOutageIsLoggedOnceAMinute(t *testing.T) {
	t.Parallel()
	c, log := newClock(), &outage{}
	e := startOn(t, log, c.set)
	deliver := func(want int) {
		for i, body := range [][]byte{user("user_1"), []byte(`{}`)} { // to store, to park
			require.Equal(t, want, e.post(headers(secretA, fmt.Sprintf("msg_%d", i), c.now(), body), bytes.NewReader(body)).status)
		}
	}
	down := fmt.Errorf("%w: no responders", eventlog.ErrUnavailable)
	log.err.Store(&down)
	for range 130 { // seconds
		deliver(503)
		c.pass(time.Second)
	}
	require.Equal(t, 260, e.receiver.Refused().Count)
	log.err.Store(nil)
	body := user("user_1")
	require.Equal(t, 204, e.post(headers(secretA, "msg_1", c.now(), body), bytes.NewReader(body)).status)

	fix := Fix("unavailable")
	require.NotEmpty(t, fix)
	require.Equal(t, []logLine{
		{Level: "WARN", Text: "deliveries are refused", Reason: "unavailable", Fix: fix, Err: down.Error(), Count: 1},
		{Level: "WARN", Text: "deliveries are still refused", Reason: "unavailable", Fix: fix, Err: down.Error(), Count: 121, Duration: time.Minute},
		{Level: "WARN", Text: "deliveries are still refused", Reason: "unavailable", Fix: fix, Err: down.Error(), Count: 241, Duration: 2 * time.Minute},
		{Level: "INFO", Text: "deliveries are accepted again", Refused: 260, Duration: 130 * time.Second},
	}, e.logged())
}

// TestRefusalsBetweenGoodDeliveries: two lines a minute for each reason, however often they
// change. Another reason has its own line at once.
func TestRefusalsBetweenGoodDeliveries(t *testing.T) {
	t.Parallel()
	c := newClock()
	e := startOn(t, &recorder{}, c.set)
	body := user("user_1")
	deliver := func(secret string, ago time.Duration, want int) {
		require.Equal(t, want, e.post(headers(secret, "msg_1", c.now().Add(-ago), body), bytes.NewReader(body)).status)
	}
	for range 90 {
		deliver(secretX, 0, 401)
		deliver(secretA, 0, 204)
		c.pass(time.Second)
	}
	deliver(secretX, 0, 401)
	deliver(secretA, time.Hour, 401)
	var texts []string
	for _, l := range e.logged() {
		texts = append(texts, l.Text+" "+l.Reason)
		if l.Reason == "too_old" {
			require.Equal(t, time.Hour, l.ClockOff)
			require.Equal(t, "let NTP set this machine's clock", l.Fix)
			require.Equal(t, 2, l.Count)
		}
	}
	require.Equal(t, []string{
		"deliveries are refused bad_signature", "deliveries are accepted again ",
		"deliveries are refused bad_signature", "deliveries are accepted again ",
		"deliveries are refused too_old",
	}, texts)
}

// TestEveryReasonHasAFix: but that of a method, which is no delivery's.
func TestEveryReasonHasAFix(t *testing.T) {
	t.Parallel()
	e := startOn(t, failing{errors.New("down")})
	reasons := testkit.Values(t, e.registry, "clerksync_refused_total")
	for reason := range reasons {
		if reason != ReasonMethod {
			require.NotEmpty(t, Fix(reason), reason)
		}
	}
	require.Len(t, fixes, len(reasons)-1)
}

// TestRefusedAtOnce: many refused and accepted at the same time.
func TestRefusedAtOnce(t *testing.T) {
	t.Parallel()
	e := startOn(t, failing{nil}) // takes all
	var all sync.WaitGroup
	body := user("user_1")
	for i := range 200 {
		all.Go(func() {
			if _, err := e.try("POST", headers([]string{secretA, secretX}[i%2], "msg_1", now, body), bytes.NewReader(body)); err != nil {
				t.Error(err)
			}
			e.receiver.Refused()
		})
	}
	all.Wait()
	require.Equal(t, 401, e.deliver(secretX, "msg_1", body))
	require.NotNil(t, e.receiver.Refused())
	require.Equal(t, 204, e.deliver(secretA, "msg_1", body))
	require.Nil(t, e.receiver.Refused())
}
