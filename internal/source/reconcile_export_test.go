package source

import "time"

// WithoutSettling lets a reconciler trust at once what it sees, and wait for its repairs
// no longer than a time.
func WithoutSettling(r *Reconciler, repair time.Duration) *Reconciler {
	r.limits = limits{0, repair}
	return r
}
