package erasure

import (
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// SetRemove has f called before an event or a dead letter is removed.
func (e *Eraser) SetRemove(f func(*eventlog.Message) error) { e.testOnlyRemove = f }

// SetInterval is how often the sweeper looks.
func (s *Sweeper) SetInterval(d time.Duration) { s.testOnlyInterval = d }
