package doctor

import (
	"context"

	"github.com/clerksync/clerksync/internal/lag"
)

// checkLag reports the verdict and the warnings of a reading: dead letters, two Clerk
// instances, clocks.
func checkLag(ctx context.Context, r *Report, o Options) {
	if o.Log == nil {
		r.unchecked("the event log was not reached", "lag", "events")
		return
	}
	meter := lag.NewMeter(o.Log, o.Store, false, o.Logger)
	if err := meter.Learn(ctx); err != nil {
		o.Logger.Debug("how often events come was not learned", "err", err)
	}
	reading := meter.Measure(ctx)
	switch reading.State {
	case lag.InStep:
		r.ok("lag", reading.Verdict)
	case lag.Silent, lag.Behind:
		r.add("lag", Warning, reading.Verdict, nextStep(ctx, o, reading))
	default:
		r.add("lag", Failed, reading.Verdict, reading.Fix)
	}
	switch {
	case !reading.EventLog.OK:
		r.unchecked("the event log did not answer", "events")
	case len(reading.Warnings) == 0:
		r.ok("events", "nothing is odd about the last of them, and there are no dead letters")
	}
	for _, w := range reading.Warnings {
		r.add(w.Cause, Warning, w.Text, w.Fix)
	}
}
