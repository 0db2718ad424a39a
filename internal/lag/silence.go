package lag

import (
	"context"
	"slices"
	"time"
)

const (
	// habitWindow is how far back the habit is learned from: two weeks hold two
	// weekends.
	habitWindow = 14 * 24 * time.Hour

	// shortestLimit is the shortest limit that is learned.
	shortestLimit = 15 * time.Minute

	// unlearned is the limit until there are fewEvents, and until the log is a week old: a
	// younger one has seen no weekend and few nights.
	unlearned = 24 * time.Hour
	young     = 7 * 24 * time.Hour
	fewEvents = 20
)

// habit is how long pauses between events usually are.
type habit struct {
	secondLongest time.Duration
	limit         time.Duration // 0: not learned
}

// Learn learns the habit from the log. It costs some hundreds of requests, so it is not
// part of a reading.
func (m *Meter) Learn(ctx context.Context) error {
	state, err := m.log.State(ctx)
	if err != nil {
		return err
	}
	since := time.Now().Add(-habitWindow)
	// Two, because the longest may have been an outage. A pause below half the shortest
	// limit changes nothing.
	pauses, err := findPauses(ctx, m.log, since, 2, shortestLimit/2)
	if err != nil {
		return err
	}
	age := time.Duration(0) // of an empty log
	if !state.FirstAt.IsZero() {
		age = time.Since(state.FirstAt)
	}
	h := learn(pauses, age)
	m.mu.Lock()
	m.habit = h
	m.mu.Unlock()
	return nil
}

// learn derives the habit from the longest pauses, longest first, and the age of the log.
func learn(pauses []pause, age time.Duration) habit {
	var h habit
	if len(pauses) > 1 {
		h.secondLongest = pauses[1].length()
	}
	h.limit = max(2*h.secondLongest, shortestLimit)
	if age < young {
		h.limit = max(h.limit, unlearned)
	}
	return h
}

// silence compares the time since the last event with the limit: the one that is set, or
// else the one that was learned. gap is the usual gap, 0 when unknown.
func (h habit) silence(last, now time.Time, set *float64, gap time.Duration) *Silence {
	limit := unlearned
	switch {
	case set != nil:
		limit = seconds(*set)
	case gap != 0 && h.limit != 0:
		limit = h.limit
	}
	s := &Silence{Seconds: max(now.Sub(last), 0).Seconds(), Limit: limit.Seconds(), ReachedAt: last.Add(limit).UTC()}
	if gap != 0 {
		s.UsualGap = new(gap.Seconds())
	}
	if h.secondLongest != 0 {
		s.LongestGap = new(h.secondLongest.Seconds())
	}
	return s
}

// silent reports whether the limit is reached.
func (s *Silence) silent() bool { return s != nil && s.Seconds > s.Limit }

// usualGap returns the median time between the last events, 0 when they are too few.
func (e *recent) usualGap() time.Duration {
	if len(e.events) < fewEvents {
		return 0
	}
	var gaps []time.Duration
	for i := 1; i < len(e.events); i++ {
		gaps = append(gaps, max(e.events[i].stored.Sub(e.events[i-1].stored), time.Millisecond))
	}
	slices.Sort(gaps)
	return gaps[len(gaps)/2]
}
