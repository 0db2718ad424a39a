package alert

import (
	"time"

	"github.com/clerksync/clerksync/internal/lag"
)

// settled decides when a verdict has lasted long enough to be told. A verdict that comes
// and goes within a minute is not told.
type settled struct {
	state lag.State // last told; "" before the first
	cause string

	since time.Time // of the verdicts that differ from it; zero when the last one did not
	well  bool      // those verdicts are in step
}

// due reports whether a reading is to be told, and counts it as told. Several bad verdicts
// in turn share their minute: it would never be over while their causes alternate.
func (s *settled) due(r *lag.Reading, now time.Time) bool {
	if r.State == s.state && r.Cause == s.cause {
		s.since = time.Time{}
		return false
	}
	if well := r.State == lag.InStep; s.since.IsZero() || well != s.well {
		s.since, s.well = now, well
	}
	if now.Sub(s.since) < settle {
		return false
	}
	*s = settled{state: r.State, cause: r.Cause}
	return true
}
