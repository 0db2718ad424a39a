package lag

import (
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// patience tracks how long the oldest pending event has waited.
type patience struct {
	seq   uint64
	since time.Time // when this process first saw it pending
}

// age returns the age in seconds: 0 when nothing is pending, nil when the oldest event is
// unknown. Both times are the server's; should its clock be set back, the age is at least
// the time for which this process has seen the event pending.
func (p *patience) age(b *eventlog.Backlog, now time.Time) *float64 {
	if b.Oldest == nil {
		*p = patience{}
		if b.Pending > 0 {
			return nil
		}
		return new(float64)
	}
	if p.seq != b.Oldest.Seq {
		*p = patience{b.Oldest.Seq, now}
	}
	if b.At.Sub(b.Oldest.StoredAt) < -clockTolerance { // stored in the future: the clock was set back
		return nil
	}
	age := max(b.At.Sub(b.Oldest.StoredAt), now.Sub(p.since), time.Millisecond).Seconds()
	return &age
}

// pace tracks how fast events are stored and applied.
type pace struct {
	points []point
	moved  time.Time // when an event was last applied, or the backlog last empty
}

type point struct {
	at                     time.Time
	last, applied, pending uint64
}

func (p *pace) add(b *eventlog.Backlog, now time.Time) {
	next := point{now, b.Last, b.Last - min(b.Pending, b.Last), b.Pending}
	if n := len(p.points); n > 0 && next.last < p.points[n-1].last { // another log
		*p = pace{}
	}
	if n := len(p.points); n == 0 || b.Pending == 0 || next.applied > p.points[n-1].applied {
		p.moved = now
	}
	p.points = append(p.points, next)
	for len(p.points) > 2 && now.Sub(p.points[1].at) > rateWindow {
		p.points = p.points[1:]
	}
}

// rates returns events per second, nil until they are known.
func (p *pace) rates() (stored, applied *float64) {
	if len(p.points) < 2 {
		return nil, nil
	}
	first, last := p.points[0], p.points[len(p.points)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds < rateLeast.Seconds() {
		return nil, nil
	}
	s := float64(last.last-first.last) / seconds
	a := max(float64(last.applied)-float64(first.applied), 0) / seconds
	return &s, &a
}

// growing reports whether the backlog grew since the reading before.
func (p *pace) growing() bool {
	n := len(p.points)
	return n > 1 && p.points[n-1].pending > p.points[n-2].pending
}

// still returns how long nothing was applied although events wait, as far as this process
// has seen.
func (p *pace) still(now time.Time) time.Duration {
	if len(p.points) == 0 {
		return 0
	}
	return now.Sub(p.moved)
}
