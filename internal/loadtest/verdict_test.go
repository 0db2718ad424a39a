package loadtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestVerdicts(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	held := Result{Complete: true, Target: new(1000.), Rate: 998, Sent: 1000, Accepted: 1000, Connections: 64, Pending: new(uint64(5)), SettledPerSecond: new(900.)}
	for name, tc := range map[string]struct {
		change  func(*Result)
		facts   facts
		held    *bool
		limit   Limit
		verdict string
	}{
		"held":           {func(*Result) {}, facts{5 * ms, 5 * ms}, new(true), "", "held: 998/s"},
		"held, but slow": {func(*Result) {}, facts{50 * ms, 900 * ms}, new(true), "", "held: 998/s"},
		"some refused":   {func(r *Result) { r.Failed = 50 }, facts{}, new(true), "", "held: 998/s"},
		"refused": {
			func(r *Result) { r.Failed, r.NotSent = 51, 9 },
			facts{50 * ms, 50 * ms},
			new(false), AtReceiver, "998/s accepted: 51 of 1000 events were refused or not answered",
		},
		"slow answers": {
			func(r *Result) { r.NotSent = 1 },
			facts{5 * ms, 50 * ms},
			new(false), AtReceiver, "998/s, not 1000/s: an answer of the receiver takes 50 ms (mean)",
		},
		"few connections": {
			func(r *Result) { r.NotSent = 1 },
			facts{5 * ms, 3 * ms},
			new(false), Connections, "998/s, not 1000/s: 64 connections, each busy for 3.0 ms per event",
		},
		"a slow sender": {
			func(r *Result) { r.NotSent = 1 },
			facts{20 * ms, 3 * ms},
			new(false), ThisMachine, "998/s, not 1000/s: this machine sends late, 1 of 100 events by 20 ms or more",
		},
		"a slow worker": {
			func(r *Result) { r.Pending = new(uint64(2000)) },
			facts{},
			new(true), AtWorker, "998/s accepted, but events wait before the worker: 2000 at the end, while 900/s are settled",
		},
		"a worker that settles nothing": {
			func(r *Result) { r.Pending, r.SettledPerSecond = new(uint64(2000)), nil },
			facts{},
			new(true), AtWorker, "998/s accepted, but events wait before the worker: 2000 at the end",
		},
		"without a log": {func(r *Result) { r.Pending, r.SettledPerSecond = nil, nil }, facts{}, new(true), "", "held: 998/s"},
		"closed loop":   {func(r *Result) { r.Target = nil }, facts{50 * ms, 50 * ms}, nil, "", "998/s with 64 connections"},
		"Ctrl-C":        {func(r *Result) { r.Complete = false }, facts{}, nil, "", "ended early: 998/s until then"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := held
			tc.change(&r)
			judge(&r, tc.facts)
			require.Equal(t, tc.held, r.Held)
			require.Equal(t, []string{string(tc.limit), tc.verdict}, []string{string(r.Limit), r.Verdict})
			require.Equal(t, r.Limit == "", r.Fix == "", "a limit has a fix")
		})
	}
}
