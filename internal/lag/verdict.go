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

// finding is one thing that is wrong. One without a state is only a warning.
type finding struct {
	state State
	cause string
	text  string
	fix   string
	since time.Time // zero: unknown
}

// judge decides the state of a reading: that of the worst finding. The other findings
// become warnings. It is the one function that decides.
func judge(f *facts) {
	r := f.reading
	r.State, r.Why, r.Cause, r.Fix, r.Since = InStep, f.underWay(), "", "", nil
	for _, p := range f.findings() {
		if p.state == "" || r.State != InStep { // they come in order, the worst first
			r.Warnings = append(r.Warnings, Warning{p.cause, p.text, p.fix})
			continue
		}
		r.State, r.Why, r.Cause, r.Fix = p.state, p.text, p.cause, p.fix
		if !p.since.IsZero() {
			r.Since = new(p.since.UTC())
		}
	}
	r.Verdict = r.State.sentence(r.Why)
	r.InStep = r.State == InStep
	r.Silent = r.Silence.silent()
	if r.State == Stuck { // no rate ends it
		r.SecondsLeft = nil
	}
}

// findings returns everything that is wrong, the worst first.
func (f *facts) findings() []finding {
	if f.logErr != nil {
		unreadable := finding{Unknown, CauseEventLog, "the event log cannot be read; is NATS running?", fixEventLog, time.Time{}}
		return append([]finding{unreadable}, f.outage()...)
	}
	return slices.Concat(f.lost(), f.stuck(), f.refusing(), f.behind(), f.silent(), f.warnings)
}

// underWay says what is left to do when nothing is wrong.
func (f *facts) underWay() string {
	if f.logErr != nil || *f.reading.Pending == 0 {
		return ""
	}
	return units.Count(*f.reading.Pending, "event is", "events are") + " on the way"
}

// Unreachable returns the reading when the event log cannot be opened.
func Unreachable(why, fix string) *Reading {
	return &Reading{
		State: Unknown, Cause: CauseEventLog, Why: why, Fix: fix, Verdict: Unknown.sentence(why), MeasuredAt: time.Now().UTC(),
		EventLog: Neighbour{Error: "the event log cannot be reached"}, Warnings: []Warning{},
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

// late reports whether an event has waited too long.
func (f *facts) late() bool {
	r := f.reading
	return *r.Pending > 0 && (r.OldestPendingAge == nil || *r.OldestPendingAge >= inStepWithin.Seconds())
}

// outage is PostgreSQL as this process sees it.
func (f *facts) outage() []finding {
	if f.pgOutage.IsZero() {
		return nil
	}
	p := f.reading.PostgreSQL
	return []finding{f.failure(&Failure{p.Error, p.Cause, f.pgOutage})}
}

// failure is a reason for which workers apply nothing.
func (f *facts) failure(why *Failure) finding {
	text := fmt.Sprintf("%s since %s", why.Reason, clock(why.Since, f.reading.MeasuredAt))
	if f.reading.Pending != nil {
		text += "; " + waiting(f.reading)
	}
	fix := fixPostgreSQL
	if why.Cause == CauseMigrations {
		fix = fixMigrations
	}
	return finding{Stuck, why.Cause, text, fix, why.Since}
}

// lost finds that the log is not what the rows come from, or not all of it.
func (f *facts) lost() []finding {
	var all []finding
	if f.otherLog != nil {
		all = append(all, finding{Stuck, CauseOtherLog, f.otherLog.Error(), FixOtherLog, time.Time{}})
	}
	if l := f.reading.Lost; l != nil {
		text := fmt.Sprintf("%s left the event log before being applied, of the sequences %d..%d", units.Count(l.Events, "event", "events"), l.From, l.To)
		all = append(all, finding{Lost, CauseLost, text, fixLost, l.Since})
	}
	return all
}

// stuck finds why nothing is applied.
func (f *facts) stuck() []finding {
	r := f.reading
	failing := first(r.Workers, func(w Worker) *Failure { return w.Failing })
	outage := first(r.Workers, func(w Worker) *Failure { return w.Outage })
	// A worker that may not answer, by the permissions of NATS, is known by its work.
	working := f.asking || r.AppliedPerSecond != nil && *r.AppliedPerSecond > 0 && f.still < inStepWithin
	noWorker := len(r.Workers) == 0 && r.Workers != nil && !working
	switch {
	case !f.pgOutage.IsZero():
		return f.outage()
	case failing != nil && *r.Pending > 0:
		return []finding{f.failure(failing)}
	case outage != nil:
		return []finding{f.failure(outage)}
	case noWorker:
		return []finding{{Stuck, CauseNoWorker, "no worker is running; " + waiting(r), "start one: clerksync serve, or with --role worker", time.Time{}}}
	case f.late() && f.still >= stuckAfter:
		text := fmt.Sprintf("nothing was applied for %s, though a worker is there; %s", units.Duration(f.still), waiting(r))
		return []finding{{Stuck, CauseNotApplying, text, "read the worker's log; when it says nothing, restart the worker", r.MeasuredAt.Add(-f.still)}}
	}
	return nil
}

func (f *facts) behind() []finding {
	if !f.late() {
		return nil
	}
	return []finding{{Behind, CauseCatchingUp, behind(f.reading, f), "wait; when it falls further behind, run more workers or raise CLERKSYNC_APPLIERS", time.Time{}}}
}

func (f *facts) silent() []finding {
	s := f.reading.Silence
	if !s.silent() {
		return nil
	}
	text := fmt.Sprintf("no event for %s, the limit is %s", units.Seconds(s.Seconds), units.Seconds(s.Limit))
	return []finding{{Silent, CauseSilent, text, "Clerk dashboard → Webhooks: is the endpoint there and enabled? Recover failed messages; CLERKSYNC_SILENT_AFTER sets the limit", s.ReachedAt}}
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
