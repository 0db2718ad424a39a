package erasure

import (
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// SetRemove sets the hook that is called before an event or a dead letter is removed.
func (e *Eraser) SetRemove(f func(*eventlog.Message) error) { e.testOnlyRemove = f }

// SetInterval sets the time between two sweeps.
func (s *Sweeper) SetInterval(d time.Duration) { s.testOnlyInterval = d }

// SetInterval sets the time between two removals.
func (r *Retention) SetInterval(d time.Duration) { r.testOnlyInterval = d }
