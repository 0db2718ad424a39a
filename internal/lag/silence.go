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

	// shortestLimit is the shortest limit, and youngLimit that of a log younger than a
	// week, which has seen no weekend and few nights.
	shortestLimit = 15 * time.Minute
	youngLimit    = 12 * time.Hour
	young         = 7 * 24 * time.Hour

	// fewEvents are needed to know the usual gap.
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
		h.limit = max(h.limit, youngLimit)
	}
	return h
}

// silence compares the present pause with the habit. gap is the usual gap, 0 when unknown.
func (h habit) silence(present, gap time.Duration) *Silence {
	s := &Silence{Seconds: max(present, 0).Seconds()}
	if gap == 0 || h.limit == 0 {
		return s
	}
	usual, longest, limit := gap.Seconds(), max(h.secondLongest, gap).Seconds(), h.limit.Seconds()
	s.UsualGap, s.LongestGap, s.Limit = &usual, &longest, &limit
	return s
}

// silent reports whether the pause is longer than the limit.
func (s *Silence) silent() bool { return s != nil && s.Limit != nil && s.Seconds > *s.Limit }

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
