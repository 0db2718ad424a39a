//go:build browser

package admin_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/lag"
)

// TestEveryVerdictHasItsFix beside it and in the card that it is about, and its own
// colour; nothing that is wrong is green.
func TestEveryVerdictHasItsFix(t *testing.T) {
	w := &watch{}
	s := &scene{world: newWorld(t, func(o *admin.Options) { o.Watch = w })}
	s.serve("127.0.0.1:0")
	b := newBrowser(t)
	b.open(s.url("localhost"))
	now := time.Now()
	red := func(state lag.State, cause string) lag.Reading {
		return lag.Reading{State: state, Cause: cause, Why: "the reason", Fix: "the fix", Warnings: []lag.Warning{}}
	}
	warned := func(cause string) lag.Reading {
		return lag.Reading{InStep: true, State: lag.InStep, Warnings: []lag.Warning{{Cause: cause, Text: "the reason", Fix: "the fix"}}}
	}
	refused := red(lag.Refusing, lag.CauseSecret)
	refused.Receivers = []lag.Receiver{{Name: "receiver-1:7", StartedAt: now, Refused: &lag.Refused{Count: 5, Reason: "bad_signature", Since: now, LastAt: now}}}
	probe := red(lag.Refusing, lag.CauseProbe)
	probe.Probe = &lag.Probe{StoppedAt: "redirect", Cause: "the reason", Fix: "the fix", Since: now, At: now}
	for _, c := range []struct {
		name          string
		reading       lag.Reading
		title, colour string
		place         string // that has the fix too
		says          string
	}{
		{"in step", lag.Reading{InStep: true, State: lag.InStep, Warnings: []lag.Warning{}}, "In step", "--good", "", ""},
		{"disk nearly full", warned(lag.CauseDisk), "● In step, 1 warning", "--wait", "#card-event-log", "Needs attention"},
		{"dead letters", warned(lag.CauseDeadLetters), "● In step, 1 warning", "--wait", "", ""},
		{"disk full", red(lag.Refusing, lag.CauseDisk), "● Refusing", "--bad", "#card-event-log", "At fault"},
		{"wrong secret", refused, "● Refusing", "--bad", "#workers", "Refused 5 deliveries"},
		{"probe fails", probe, "● Refusing", "--bad", "#card-probe", "Stops at redirect"},
		{"no worker", red(lag.Stuck, lag.CauseNoWorker), "● Stuck", "--bad", "#workers", ""},
		{"migrations", red(lag.Stuck, lag.CauseMigrations), "● Stuck", "--bad", "#card-postgresql", "At fault"},
		{"lost", red(lag.Lost, "lost"), "● Lost", "--bad", "#card-event-log", "At fault"},
		{"silent", red(lag.Silent, lag.CauseSilent), "● Silent", "--quiet", "#card-silence", "Needs attention"},
		{"behind", red(lag.Behind, lag.CauseCatchingUp), "● Behind", "--wait", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.reading
			r.MeasuredAt, r.EventLog, r.PostgreSQL, r.Silence = time.Now(), lag.Neighbour{OK: true}, &lag.Neighbour{OK: true}, &lag.Silence{}
			w.publish(&r)
			b.await(`document.title`, `"`+c.title+` · clerksync"`)
			require.Equal(t, "true", b.eval(`getComputedStyle(document.querySelector("#verdict")).getPropertyValue("--state") === getComputedStyle(document.documentElement).getPropertyValue("`+c.colour+`")`))
			if c.title == "In step" {
				require.Equal(t, "0", b.eval(`document.querySelectorAll(".fix").length`))
				return
			}
			b.await(text("#verdict .fix"), `"→ the fix"`)
			if c.place != "" {
				b.await(text(c.place)+`.includes("→ the fix")`, "true")
				require.Contains(t, b.eval(text(c.place)), c.says)
			}
			require.Empty(t, b.said())
		})
	}
}

// TestOldEventsMakeNoLag: the age of samples that were sent is no delay of the way.
func TestOldEventsMakeNoLag(t *testing.T) {
	w := busyHour(lag.InStep, "")
	w.reading.EndToEnd = &lag.Quantiles{P50: 316 * 86400, P99: 317 * 86400, Events: 20}
	s := &scene{world: newWorld(t, func(o *admin.Options) { o.Watch = w })}
	s.serve("127.0.0.1:0")
	b := newBrowser(t)
	b.open(s.url("localhost"))
	b.await(text("#end"), `"–"`)
	require.Equal(t, `"the last events were 316 d old when they came"`, b.eval(`document.querySelector("#end").nextSibling.textContent`))
}
