//go:build browser

package admin_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/testkit"
)

// busyHour returns a watch with an hour of samples in which PostgreSQL was away for a while.
func busyHour(state lag.State, why string) *watch {
	w := &watch{}
	now := time.Now()
	for i := range 720 {
		at := now.Add(time.Duration(i-719) * 5 * time.Second)
		wave := 1 + 0.4*math.Sin(float64(i)/40) + 0.25*math.Sin(float64(i)/3.7)
		backlog := 0.0
		if i > 400 && i < 480 { // away
			backlog = float64(i-400) * 60
		} else if i >= 480 && i < 520 {
			backlog = float64(520-i) * 120
		}
		s := lag.Sample{
			At: at, State: lag.InStep, Pending: new(uint64(backlog + wave)), OldestPendingAge: new(backlog/12 + 0.05*wave),
			Received: map[string]float64{"stored": 12 * wave, "duplicate": 0.4 * wave, "ignored": 1.2, "unauthorized": 0},
			Outcomes: map[string]float64{"applied": 11.5 * wave, "stale": 0.6, "duplicate": 0.4, "ignored": 0, "dead": 0},
		}
		if i > 400 && i < 480 {
			s.Outcomes = map[string]float64{"applied": 0, "stale": 0, "duplicate": 0, "ignored": 0, "dead": 0}
		} else {
			s.Delivery = &lag.Quantiles{P50: 0.21 * wave, P99: 1.3 * wave, Events: 256}
			s.Queue = &lag.Quantiles{P50: 0.008*wave + backlog/40, P99: 0.05*wave + backlog/12, Events: 256}
			s.EndToEnd = &lag.Quantiles{P50: 0.22*wave + backlog/40, P99: 1.4*wave + backlog/12, Events: 256}
		}
		w.history = append(w.history, s)
	}
	last := w.history[719]
	r := &lag.Reading{
		InStep: state == lag.InStep, State: state, Why: why, MeasuredAt: now, Pending: last.Pending, InWork: new(uint64(1)),
		OldestPendingAge: last.OldestPendingAge, StoredPerSecond: new(14.2), AppliedPerSecond: new(14.6), SecondsLeft: new(0.4),
		LastEventReceivedAt: new(now.Add(-2 * time.Second)),
		Silence:             &lag.Silence{Seconds: 2, UsualGap: new(0.4), LongestGap: new(41.0), Limit: 600},
		Delivery:            last.Delivery, Queue: last.Queue, EndToEnd: last.EndToEnd, DeadLetters: new(uint64(7)),
		Workers: []lag.Worker{
			{Name: "worker-7d9f4c:1", Version: "v0.4.0", StartedAt: now.Add(-26 * time.Hour), Appliers: 4, Busy: 1, Applied: 1284031},
			{Name: "worker-a81e02:1", Version: "v0.4.0", StartedAt: now.Add(-3 * time.Hour), Appliers: 4, Busy: 0, Applied: 91022},
		},
		EventLog:   lag.Neighbour{OK: true, Events: 1840233, Bytes: 3_912_000_000, MaxBytes: 10_000_000_000},
		PostgreSQL: &lag.Neighbour{OK: true},
		Warnings:   []lag.Warning{{Cause: lag.CauseDeadLetters, Text: "7 dead letters are parked", Fix: "clerksync dead ls"}},
	}
	if state == lag.Stuck {
		r.Pending, r.OldestPendingAge, r.SecondsLeft = new(uint64(4812)), new(431.0), nil
		r.AppliedPerSecond = new(0.0)
		for i := range r.Workers {
			r.Workers[i].Busy = 4
			r.Workers[i].Failing = &lag.Failure{Reason: "PostgreSQL refuses the connection", Since: now.Add(-7 * time.Minute)}
		}
		r.PostgreSQL = &lag.Neighbour{Error: "PostgreSQL refuses the connection"}
		r.Warnings = append(r.Warnings, lag.Warning{Cause: lag.CauseWrongInstance, Text: "the last events are of 2 Clerk instances, and one database holds one", Fix: "set CLERK_INSTANCE_ID"})
	}
	w.reading = r
	return w
}

// fill stores events and parks some, with ids and lengths as in a real log.
func (s *scene) fill() {
	s.t.Helper()
	for i := range 60 {
		at := time.Now().UnixMilli() - int64(60-i)*400
		id := fmt.Sprintf("user_2xK9mPq4vT7bRz%02dLwYc8NfHd", i)
		org := fmt.Sprintf("org_2wB5nQ8tS3jVx%02dMkZe6GpRa", i%5)
		e := testkit.Event(fmt.Sprintf("msg_2aF%d", i), "user.updated", at, testkit.UserData(id, fmt.Sprint(i, secret), "Ada", at, at))
		switch i % 4 {
		case 1:
			e = testkit.Event(fmt.Sprintf("msg_2aF%d", i), "organizationMembership.created", at,
				testkit.MembershipData(fmt.Sprintf("orgmem_2zD7kL1uE%02d", i), id, org, "org:member", at, at))
		case 2:
			e = testkit.Event(fmt.Sprintf("msg_2aF%d", i), "organization.updated", at, testkit.OrganizationData(org, "Analytical Engines", at, at))
		}
		e.ReceivedAt = time.UnixMilli(at + int64(120+i*7))
		s.append(e)
	}
	park := func(i int, reason, text string, seq uint64) {
		e := testkit.Event(fmt.Sprintf("msg_2dead%d", i), "user.updated", time.Now().UnixMilli(),
			testkit.UserData(fmt.Sprintf("user_2xK9mPq4vT7bRz%02dLwYc8NfHd", i), secret, "Ada", 1, 1))
		require.NoError(s.t, s.log.Park(context.Background(), e, eventlog.Death{Reason: reason, Err: errors.New(text), Attempts: 1, Seq: seq}))
	}
	for i := range 4 {
		park(i, "refused", "apply batch: refused by PostgreSQL with SQLSTATE 23514 by constraint only_company_addresses", uint64(i+3))
	}
	park(4, clerk.ErrWrongInstance.Error(), "wrong_instance: the event is of another instance", 0)
	park(5, clerk.ErrWrongInstance.Error(), "wrong_instance: the event is of another instance", 0)
	park(6, clerk.ErrUndecodable.Error(), `undecodable: jsontext: duplicate object member name`, 0)
}

func (b *browser) media(scheme string) {
	b.t.Helper()
	b.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// TestPageFits: nothing is wider than the screen, down to 360 pixels, in any state.
func TestPageFits(t *testing.T) {
	for _, c := range []struct {
		name, scheme  string
		width, height int64
		state         lag.State
		why           string
	}{
		{"light", "light", 1280, 900, lag.InStep, "1 event is on the way"},
		{"dark", "dark", 1280, 900, lag.InStep, "1 event is on the way"},
		{"dark-stuck", "dark", 1280, 900, lag.Stuck, "PostgreSQL refuses the connection since 14:02 UTC; 4812 events wait, the oldest for 7 min 11 s"},
		{"light-stuck", "light", 1280, 900, lag.Stuck, "PostgreSQL refuses the connection since 14:02 UTC; 4812 events wait, the oldest for 7 min 11 s"},
		{"tablet", "light", 768, 1024, lag.Silent, "no event for 2 h 10 min, usual gap 4 s; is the endpoint enabled in the Clerk dashboard?"},
		{"phone", "light", 360, 780, lag.Behind, "41 s, catching up, about 2 min 10 s left"},
		{"phone-dark", "dark", 360, 780, lag.Unknown, "the event log cannot be read; is NATS running?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, func(o *admin.Options) { o.Watch = busyHour(c.state, c.why) })
			s.fill()
			b := newBrowser(t)
			b.media(c.scheme)
			b.run(chromedp.EmulateViewport(c.width, c.height))
			fits := func(what string) {
				t.Helper()
				require.Equal(t, fmt.Sprint(c.width), b.eval(`Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)`), what)
			}
			b.open(s.url("localhost"))
			b.await(`document.querySelectorAll(".chart canvas").length`, "4")
			b.await(`document.querySelectorAll("#events-rows tr").length`, "25")
			b.await(`document.querySelectorAll("#letters-groups .reason").length`, "3")
			fits("page")
			b.picture(c.name)
			b.eval(`document.querySelector("[aria-label='Open dead letter 1']").focus()`)
			b.press(enter)
			b.await(`document.querySelectorAll("#details-actions button").length`, "3")
			b.click("#details-actions button:nth-child(2)")
			b.await(`document.querySelector("#details-body") !== null`, "true")
			b.eval(`void document.querySelector("#details-discard").click()`)
			fits("dialog")
			require.Equal(t, "true", b.eval(`document.querySelector("#details").scrollWidth <= document.querySelector("#details").clientWidth`))
			b.glimpse(c.name + "-dialog")
			b.press(escape)
			require.Empty(t, b.said())
		})
	}
}
