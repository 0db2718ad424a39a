package lag

import (
	"fmt"
	"slices"
	"time"

	"github.com/clerksync/clerksync/internal/units"
)

const (
	// inStepWithin is how long an event may wait before the rows count as behind.
	inStepWithin = 5 * time.Second

	// stuckAfter is how long nothing may be applied although events wait.
	stuckAfter = 20 * time.Second
)

// judge decides the state of a reading. It is the one place that does.
func judge(f *facts) {
	r := f.reading
	r.State, r.Why = verdict(f)
	r.Verdict = r.State.sentence(r.Why)
	r.InStep = r.State == InStep
	r.Silent = r.Silence.silent()
	if r.State == Stuck { // no rate ends it
		r.SecondsLeft = nil
	}
}

// Unreachable returns the reading when the event log cannot be opened.
func Unreachable(why string) *Reading {
	return &Reading{
		State: Unknown, Why: why, Verdict: Unknown.sentence(why), MeasuredAt: time.Now().UTC(),
		EventLog: Neighbour{Error: "the event log cannot be reached"}, Warnings: []string{},
	}
}

func (s State) sentence(why string) string {
	label := string(s)
	if s == InStep {
		label = "in step"
	}
	if why == "" {
		return label
	}
	return label + ": " + why
}

// verdict returns the state and why it is so, without the state's own word.
func verdict(f *facts) (State, string) {
	r := f.reading
	if f.logErr != nil {
		return Unknown, "the event log cannot be read; is NATS running?"
	}
	pending := *r.Pending
	failing := first(r.Workers, func(w Worker) *Failure { return w.Failing })
	outage := first(r.Workers, func(w Worker) *Failure { return w.Outage })
	// A worker that may not answer, by the permissions of NATS, is known by its work.
	working := f.asking || r.AppliedPerSecond != nil && *r.AppliedPerSecond > 0 && f.still < inStepWithin
	noWorker := len(r.Workers) == 0 && r.Workers != nil && !working
	late := pending > 0 && (r.OldestPendingAge == nil || *r.OldestPendingAge >= inStepWithin.Seconds())
	since := func(reason string, at time.Time) string {
		return fmt.Sprintf("%s since %s; %s", reason, clock(at, r.MeasuredAt), waiting(r))
	}
	switch {
	case failing != nil && pending > 0:
		return Stuck, since(failing.Reason, failing.Since)
	case outage != nil:
		return Stuck, since(outage.Reason, outage.Since)
	case !f.pgOutage.IsZero():
		return Stuck, since(r.PostgreSQL.Error, f.pgOutage)
	case noWorker && late:
		return Stuck, "no worker is running; " + waiting(r)
	case late && f.still >= stuckAfter:
		return Stuck, fmt.Sprintf("nothing was applied for %s, though a worker is there; %s", units.Duration(f.still), waiting(r))
	case late:
		return Behind, behind(r, f)
	case r.Silence.silent():
		return Silent, fmt.Sprintf("no event for %s, usual gap %s; is the endpoint enabled in the Clerk dashboard?",
			units.Seconds(r.Silence.Seconds), units.Seconds(*r.Silence.UsualGap))
	case noWorker && pending > 0:
		return InStep, "no worker is running; " + waiting(r)
	case noWorker && !f.attempted:
		return InStep, "nothing waits, and no worker has run yet"
	case noWorker:
		return InStep, "nothing waits, but no worker is running"
	case pending > 0:
		return InStep, units.Count(pending, "event is", "events are") + " on the way"
	}
	return InStep, ""
}

func behind(r *Reading, f *facts) string {
	by := ""
	if r.OldestPendingAge != nil {
		by = units.Seconds(*r.OldestPendingAge) + ", "
	}
	waiting := units.Count(*r.Pending, "event waits", "events wait")
	switch {
	case r.SecondsLeft != nil:
		return fmt.Sprintf("%scatching up, about %s left", by, units.Seconds(*r.SecondsLeft))
	case r.AppliedPerSecond != nil && *r.AppliedPerSecond == 0:
		return fmt.Sprintf("%snothing is being applied, %s", by, waiting)
	case f.falling:
		return fmt.Sprintf("%sfalling further behind, %.0f events/s are stored and %.0f/s applied", by, *r.StoredPerSecond, *r.AppliedPerSecond)
	}
	return by + waiting
}

// waiting describes the backlog.
func waiting(r *Reading) string {
	switch n := *r.Pending; {
	case n == 0:
		return "nothing waits yet"
	case r.OldestPendingAge == nil:
		return units.Count(n, "event waits", "events wait")
	case n == 1:
		return "1 event waits, for " + units.Seconds(*r.OldestPendingAge)
	default:
		return fmt.Sprintf("%d events wait, the oldest for %s", n, units.Seconds(*r.OldestPendingAge))
	}
}

// anyWell reports whether a worker that can apply events answered.
func anyWell(workers []Worker) bool {
	return slices.ContainsFunc(workers, func(w Worker) bool { return w.Failing == nil && w.Outage == nil })
}

// first returns the earliest failure when every worker has one, nil when a worker has
// none.
func first(workers []Worker, failure func(Worker) *Failure) *Failure {
	var first *Failure
	for _, w := range workers {
		f := failure(w)
		if f == nil {
			return nil
		}
		if first == nil || f.Since.Before(first.Since) {
			first = f
		}
	}
	return first
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// clock writes a time, with the date unless it is today.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Format(time.DateOnly) != now.Format(time.DateOnly) {
		return t.Format("2006-01-02 15:04 UTC")
	}
	return t.Format("15:04 UTC")
}
