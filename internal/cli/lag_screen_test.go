package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/lag"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// inStep returns a reading of a quiet day.
func inStep(at time.Time) *lag.Reading {
	r := &lag.Reading{
		InStep: true, State: lag.InStep, Verdict: "in step", MeasuredAt: at,
		Pending: new(uint64), InWork: new(uint64), OldestPendingAge: new(float64),
		LastEventReceivedAt: ptr(at.Add(-42 * time.Second)),
		Silence:             &lag.Silence{Seconds: 42, UsualGap: ptr(12.0), LongestGap: ptr(1800.0), Limit: 3600},
		Delivery:            &lag.Quantiles{P50: 0.18, P99: 1.23, Events: 256},
		Queue:               &lag.Quantiles{P50: 0.0023, P99: 0.012, Events: 256},
		EndToEnd:            &lag.Quantiles{P50: 0.183, P99: 1.25, Events: 256},
		DeadLetters:         new(uint64),
		Workers:             []lag.Worker{{Name: "app-1:7", Version: "v0.3.0", StartedAt: at.Add(-3 * time.Hour), Appliers: 4, Busy: 1}},
		EventLog:            lag.Neighbour{OK: true, Events: 1204, Bytes: 2_400_000, MaxBytes: 10_000_000_000},
		PostgreSQL:          &lag.Neighbour{OK: true},
		Warnings:            []lag.Warning{},
	}
	return r
}

func ptr[T any](v T) *T { return &v }

// stuck is a reading while PostgreSQL is away.
func stuck(at time.Time) *lag.Reading {
	r := inStep(at)
	r.InStep, r.State = false, lag.Stuck
	r.Verdict = "stuck: PostgreSQL refuses connections since 11:56 UTC; 340 events wait, the oldest for 3 min 20 s"
	r.Pending, r.InWork, r.OldestPendingAge = ptr(uint64(340)), ptr(uint64(4)), ptr(200.0)
	r.StoredPerSecond, r.AppliedPerSecond = ptr(2.1), ptr(0.0)
	r.Delivery, r.Queue, r.EndToEnd = nil, nil, nil
	r.DeadLetters = ptr(uint64(2))
	failing := &lag.Failure{Reason: "PostgreSQL refuses connections", Since: at.Add(-200 * time.Second)}
	r.Workers = append(r.Workers, lag.Worker{Name: "app-2:7\x1b[2J", StartedAt: at.Add(-time.Minute), Appliers: 1, Busy: 1, Failing: failing})
	r.PostgreSQL = &lag.Neighbour{Error: "PostgreSQL refuses connections"}
	r.Warnings = []lag.Warning{{Cause: lag.CauseDeadLetters, Text: "2 dead letters are parked", Fix: "clerksync dead ls"}}
	return r
}

func TestLagLines(t *testing.T) {
	t.Parallel()
	withoutDatabase := inStep(now)
	withoutDatabase.Delivery, withoutDatabase.Queue, withoutDatabase.EndToEnd, withoutDatabase.PostgreSQL = nil, nil, nil, nil
	withoutDatabase.Silence, withoutDatabase.Workers, withoutDatabase.EventLog.MaxBytes = &lag.Silence{Seconds: 42, Limit: 86400}, []lag.Worker{}, 0
	withoutDatabase.LastEventReceivedAt = nil
	unknown := &lag.Reading{
		State: lag.Unknown, Verdict: "unknown: no event log: set NATS_URL", MeasuredAt: now,
		EventLog: lag.Neighbour{Error: "the event log cannot be reached"}, PostgreSQL: &lag.Neighbour{OK: true},
	}
	rising := func(n int) *lag.Reading {
		r := stuck(now.Add(time.Duration(n) * 2 * time.Second))
		r.Pending, r.OldestPendingAge, r.SecondsLeft = ptr(uint64(n*100)), ptr(float64(n)*60), ptr(170.0)
		return r
	}
	for name, test := range map[string]struct {
		readings []*lag.Reading
		look     look
		want     string
	}{
		"in step": {[]*lag.Reading{inStep(now)}, look{}, `
in step

              P50     P99    EVENTS  FROM → TO
delivery      180 ms  1.2 s  256     emitted by Clerk → received
queue         2.3 ms  12 ms  256     stored → applied
end to end    183 ms  1.2 s  256     emitted by Clerk → applied

pending       0
last event    received 42 s ago, usual gap 12 s; silent after 1 h, in 59 min 18 s
dead letters  0
event log     1204 events, 2.4 MB of 10 GB
PostgreSQL    answers
workers       app-1:7, version v0.3.0, up 3 h, 1 of 4 appliers busy
`},
		"stuck, on a narrow terminal": {[]*lag.Reading{stuck(now)}, look{width: 60}, `
stuck: PostgreSQL refuses connections since 11:56 UTC; 340
events wait, the oldest for 3 min 20 s
! 2 dead letters are parked
  → clerksync dead ls

              P50  P99  EVENTS  FROM → TO
delivery      -    -    -       emitted by Clerk → received
queue         -    -    -       stored → applied
end to end    -    -    -       emitted by Clerk → applied

pending       340, 4 in work, the oldest for 3 min 20 s
rates         2.1/s stored, 0/s applied
last event    received 42 s ago, usual gap 12 s; silent
              after 1 h, in 59 min 18 s
dead letters  2
event log     1204 events, 2.4 MB of 10 GB
PostgreSQL    PostgreSQL refuses connections
workers       app-1:7, version v0.3.0, up 3 h, 1 of 4
              appliers busy
              app-2:7 [2J, version -, up 1 min, 1 of 1
              applier busy; failing for 3 min 20 s:
              PostgreSQL refuses connections
`},
		"in colour": {[]*lag.Reading{withoutDatabase}, look{colour: true}, "\n" +
			"\x1b[1;32min step\x1b[0m\n" +
			"\n" +
			"\x1b[2m              P50  P99  EVENTS  FROM → TO\x1b[0m\n" + `delivery      -    -    -       emitted by Clerk → received
queue         -    -    -       stored → applied
end to end    -    -    -       emitted by Clerk → applied

pending       0
last event    none from Clerk is in the log; silent after 1 d, in 23 h 59 min
dead letters  0
event log     1204 events, 2.4 MB
PostgreSQL    not asked, and no lags without it: set DATABASE_URL
workers       none answers
`},
		"without an event log": {[]*lag.Reading{unknown}, look{width: 45}, `
unknown: no event log: set NATS_URL

              P50  P99  EVENTS
delivery      -    -    -
queue         -    -    -
end to end    -    -    -

pending       -
last event    -
dead letters  -
event log     the event log cannot be reached
PostgreSQL    answers
workers       not known: they could not be
              asked
`},
		"several, in 24 lines": {[]*lag.Reading{inStep(now), rising(1), unknown, rising(3), rising(7)}, look{width: 80, height: 24}, `
stuck: PostgreSQL refuses connections since 11:56 UTC; 340 events wait, the
oldest for 3 min 20 s
! 2 dead letters are parked
  → clerksync dead ls
              P50  P99  EVENTS  FROM → TO
delivery      -    -    -       emitted by Clerk → received
queue         -    -    -       stored → applied
end to end    -    -    -       emitted by Clerk → applied
              THE LAST 14 s         MOST
pending       ▁▂ ▄█                 700
oldest        ▁▂ ▄█                 7 min
end to end    █                     1.2 s p99
applied        ▁ ▁▁                 0/s

pending       700, 4 in work, the oldest for 7 min
rates         2.1/s stored, 0/s applied, about 2 min 50 s left
last event    received 42 s ago, usual gap 12 s; silent after 1 h, in 59 min 18
              s
dead letters  2
event log     1204 events, 2.4 MB of 10 GB
PostgreSQL    PostgreSQL refuses connections
workers       app-1:7, version v0.3.0, up 3 h, 1 of 4 appliers busy
              app-2:7 [2J, version -, up 1 min, 1 of 1 applier busy; failing for
              3 min 20 s: PostgreSQL refuses connections
`},
		"several, in 6 lines": {[]*lag.Reading{inStep(now), inStep(now)}, look{width: 80, height: 6}, `
in step
              P50     P99    EVENTS  FROM → TO
delivery      180 ms  1.2 s  256     emitted by Clerk → received
queue         2.3 ms  12 ms  256     stored → applied
end to end    183 ms  1.2 s  256     emitted by Clerk → applied
… 12 more: make the window higher
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, test.want, "\n"+strings.Join(lagLines(test.readings, test.look), "\n")+"\n")
		})
	}
}

// TestChartsAreAsWideAsTheTerminal: they show the last readings.
func TestChartsAreAsWideAsTheTerminal(t *testing.T) {
	t.Parallel()
	var readings []*lag.Reading
	for i := range 200 {
		r := inStep(now.Add(time.Duration(i) * 2 * time.Second))
		r.Pending = ptr(uint64(200 - i))
		readings = append(readings, r)
	}
	lines := lagLines(readings, look{width: 80})
	require.Equal(t, "              THE LAST 1 min 42 s"+strings.Repeat(" ", 33+2)+"MOST", lines[7])
	require.Equal(t, "pending       ████████▇▇▇▇▇▇▇▆▆▆▆▆▆▆▆▅▅▅▅▅▅▅▄▄▄▄▄▄▄▄▃▃▃▃▃▃▃▂▂▂▂▂▂▂  52", lines[8])
	for _, line := range lines {
		require.LessOrEqual(t, len([]rune(line)), 80)
	}
}

func TestLagLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, "2026-03-01T12:00:00Z  pending 340  oldest 3 min 20 s  end to end p99 -  applied 0/s  "+
		"stuck: PostgreSQL refuses connections since 11:56 UTC; 340 events wait, the oldest for 3 min 20 s", lagLine(stuck(now)))
	require.Equal(t, "2026-03-01T12:00:00Z  pending 0  oldest 0 ms  end to end p99 1.2 s  applied -  in step", lagLine(inStep(now)))
	require.Equal(t, "2026-03-01T12:00:00Z  pending -  oldest -  end to end p99 -  applied -  unknown",
		lagLine(&lag.Reading{State: lag.Unknown, Verdict: "unknown", MeasuredAt: now}))
}
