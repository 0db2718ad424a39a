package lag

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// inStepWithin is how long an event may wait: on its way, it is no lag.
	inStepWithin = 5 * time.Second

	// stuckAfter is for how long nothing may be applied although events wait.
	stuckAfter = 20 * time.Second
)

// judge sets the state of a reading, the reason, and the sentence that tells both.
func judge(f *facts) {
	r := f.reading
	r.State, r.Why = verdict(f)
	switch word := strings.ReplaceAll(string(r.State), "_", " "); {
	case r.Why == "":
		r.Verdict = word
	case r.State == Behind: // by how much is part of why
		r.Verdict = r.Why
	default:
		r.Verdict = word + ": " + r.Why
	}
	r.InStep = r.State == InStep
	if r.State == Stuck { // at no rate does that end
		r.SecondsLeft = nil
	}
}

func verdict(f *facts) (state State, why string) {
	r := f.reading
	if f.logErr != nil {
		return Unknown, "the event log cannot be read; is NATS running?"
	}
	pending := *r.Pending
	failing := first(r.Workers, func(w Worker) *Failure { return w.Failing })
	outage := first(r.Workers, func(w Worker) *Failure { return w.Outage })
	// One that may not answer, by the permissions of NATS, is known by what it does.
	working := f.asking || r.AppliedPerSecond != nil && *r.AppliedPerSecond > 0 && f.still < inStepWithin
	nobody := len(r.Workers) == 0 && r.Workers != nil && !working
	late := pending > 0 && (r.OldestPendingAge == nil || *r.OldestPendingAge >= inStepWithin.Seconds())
	switch {
	case failing != nil && pending > 0:
		return Stuck, fmt.Sprintf("%s since %s; %s", failing.Reason, clock(failing.Since, r.MeasuredAt), waiting(r))
	case outage != nil:
		return Stuck, fmt.Sprintf("%s since %s; %s", outage.Reason, clock(outage.Since, r.MeasuredAt), waiting(r))
	case !f.pgOutage.IsZero():
		return Stuck, fmt.Sprintf("%s since %s; %s", r.PostgreSQL.Error, clock(f.pgOutage, r.MeasuredAt), waiting(r))
	case nobody && late:
		return Stuck, "no worker is running; " + waiting(r)
	case late && f.still >= stuckAfter:
		return Stuck, fmt.Sprintf("nothing was applied for %s, though a worker is there; %s", spell(f.still), waiting(r))
	case late:
		return Behind, behind(r, f)
	case r.Silence.silent():
		return Silent, fmt.Sprintf("no event for %s, usual gap %s; is the endpoint enabled in the Clerk dashboard?",
			spell(seconds(r.Silence.Seconds)), spell(seconds(*r.Silence.UsualGap)))
	case nobody && pending > 0:
		return InStep, "nothing is late yet, but no worker is running; " + waiting(r)
	case nobody && !f.attempted:
		return InStep, "nothing waits, and no worker has run yet"
	case nobody:
		return InStep, "nothing waits, but no worker is running"
	}
	if pending > 0 {
		return InStep, fmt.Sprintf("%s on the way", plural(pending, "event is", "events are"))
	}
	return InStep, ""
}

func behind(r *Reading, f *facts) string {
	by := "behind"
	if r.OldestPendingAge != nil {
		by = "behind by " + spell(seconds(*r.OldestPendingAge))
	}
	switch {
	case r.SecondsLeft != nil:
		return fmt.Sprintf("%s and catching up, about %s left", by, spell(seconds(*r.SecondsLeft)))
	case r.AppliedPerSecond != nil && *r.AppliedPerSecond == 0:
		return fmt.Sprintf("%s, and nothing is being applied: %s", by, plural(*r.Pending, "event waits", "events wait"))
	case f.falling:
		return fmt.Sprintf("%s and falling further behind: %.0f events/s come, %.0f/s are applied", by, *r.StoredPerSecond, *r.AppliedPerSecond)
	}
	return fmt.Sprintf("%s: %s", by, plural(*r.Pending, "event waits", "events wait"))
}

// waiting says how many wait.
func waiting(r *Reading) string {
	switch n := *r.Pending; {
	case n == 0:
		return "nothing waits yet"
	case r.OldestPendingAge == nil:
		return plural(n, "event waits", "events wait")
	case n == 1:
		return "1 event waits, for " + spell(seconds(*r.OldestPendingAge))
	default:
		return fmt.Sprintf("%d events wait, the oldest for %s", n, spell(seconds(*r.OldestPendingAge)))
	}
}

// anyWell tells whether a worker answered that can get events in.
func anyWell(workers []Worker) bool {
	return slices.ContainsFunc(workers, func(w Worker) bool { return w.Failing == nil && w.Outage == nil })
}

// first is the failure that began first when every worker has one, nil when one of them
// is well.
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

func plural(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// clock is a time for a person, with the day when it was not today.
func clock(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Format(time.DateOnly) != now.Format(time.DateOnly) {
		return t.Format("2006-01-02 15:04 UTC")
	}
	return t.Format("15:04 UTC")
}

// spell says how long something takes, in the two largest units that matter.
func spell(d time.Duration) string {
	two := func(n int64, unit string, m int64, smaller string) string {
		if m == 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d %s %d %s", n, unit, m, smaller)
	}
	switch s := int64(d.Seconds()); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d.Milliseconds(), 0))
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 10*60:
		return two(s/60, "min", s%60, "s")
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 24*3600:
		return two(s/3600, "h", s%3600/60, "min")
	default:
		return two(s/86400, "d", s%86400/3600, "h")
	}
}
