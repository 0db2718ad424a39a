package loadtest

import (
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/units"
)

// Limit is the hop that was too slow.
type Limit string

// The limits, in the order of the way.
const (
	ThisMachine Limit = "this_machine" // the events were sent late
	Connections Limit = "connections"  // the answers are fast, but too few requests are allowed at once
	AtReceiver  Limit = "receiver"     // its answers are slow, or refuse events
	AtWorker    Limit = "worker"       // events wait in the log
)

const (
	// mostRefused is the share of the events that may be refused in a rate that was held.
	mostRefused = 0.05

	// lateEnough is the 99th percentile of lateness at which this machine is to blame.
	lateEnough = 20 * time.Millisecond

	// fastEnough is the mean time of answers that no receiver can be blamed for: a sync to
	// disk and a network in between.
	fastEnough = 20 * time.Millisecond

	// waiting is the time whose events may wait for a worker at the end. Batches are on
	// their way at any time.
	waiting = time.Second
)

// facts is what the verdict needs besides the result.
type facts struct {
	late    time.Duration // 99th percentile
	service time.Duration // mean
}

func (t *Test) facts() facts {
	t.tally.mu.Lock()
	defer t.tally.mu.Unlock()
	return facts{t.tally.late.quantile(.99), t.tally.service.mean()}
}

// judge says whether the rate was held, and if not, at which hop it was lost.
func judge(r *Result, f facts) {
	refused := float64(r.Failed) > mostRefused*float64(r.Sent)
	if r.Target != nil && r.Complete {
		r.Held = new(r.NotSent == 0 && !refused)
	}
	lost := r.Held != nil && !*r.Held
	rate := units.Rate(r.Rate)
	waits := r.Pending != nil && float64(*r.Pending) > r.Rate*waiting.Seconds()+100
	switch {
	case r.NotSent > 0 && !refused && f.late >= lateEnough:
		r.Limit = ThisMachine
		r.Verdict = fmt.Sprintf("%s, not %s: this machine sends late, 1 of 100 events by %s or more", rate, units.Rate(*r.Target), units.Duration(f.late))
		r.Fix = "run the load test on another machine, or with a lower --rate"
	case refused:
		r.Limit = AtReceiver
		r.Verdict = fmt.Sprintf("%s accepted: %d of %d events were refused or not answered", rate, r.Failed, r.Sent)
		r.Fix = "lower --rate or --connections, or run more receivers; a reason of clerksync is explained in docs/failures.md"
	case lost && f.service < fastEnough:
		r.Limit = Connections
		r.Verdict = fmt.Sprintf("%s, not %s: %s, each busy for %s per event", rate, units.Rate(*r.Target), units.Count(r.Connections, "connection", "connections"), units.Duration(f.service))
		r.Fix = "give more --connections; if the answers then take longer and the rate stays, the receiver or its event log is the limit"
	case lost:
		r.Limit = AtReceiver
		r.Verdict = fmt.Sprintf("%s, not %s: an answer of the receiver takes %s (mean)", rate, units.Rate(*r.Target), units.Duration(f.service))
		r.Fix = "the receiver answers when the event is on disk: look at the CPU of the receivers and at the disk of the event log, or run more receivers"
	case waits:
		r.Limit = AtWorker
		r.Verdict = fmt.Sprintf("%s accepted, but events wait before the worker: %d at the end", rate, *r.Pending)
		if r.SettledPerSecond != nil {
			r.Verdict += fmt.Sprintf(", while %s are settled", units.Rate(*r.SettledPerSecond))
		}
		r.Fix = "clerksync lag tells why; run more workers, or a faster PostgreSQL. Events that wait are in the event log and are not lost"
	case r.Held != nil:
		r.Verdict = fmt.Sprintf("held: %s", rate)
	case r.Complete:
		r.Verdict = fmt.Sprintf("%s with %s", rate, units.Count(r.Connections, "connection", "connections"))
	default:
		r.Verdict = fmt.Sprintf("ended early: %s until then", rate)
	}
}
