package source

import (
	"context"
	"time"
)

// WithoutSettling lets a reconciler trust at once what it sees, and wait for its repairs
// no longer than a time.
func WithoutSettling(r *Reconciler, repair time.Duration) *Reconciler {
	r.limits = limits{0, repair}
	return r
}

// RunNow runs a schedule once, as [WithoutSettling].
func RunNow(ctx context.Context, s *Schedule) {
	s.limits = limits{0, 20 * time.Second}
	s.run(ctx)
}
