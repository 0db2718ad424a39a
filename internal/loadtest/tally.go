package loadtest

import (
	"net/http"
	"sync"
	"time"
)

const (
	// mostWrong is the number of answers that no load causes after which a run stops.
	mostWrong = 10

	// mostInARow is the number of failures without a success in between after which a run
	// stops. An overloaded deployment still takes some.
	mostInARow = 100
)

// tally counts what was sent.
type tally struct {
	mu      sync.Mutex
	taken   uint64 // events that were begun
	began   time.Time
	ended   time.Time // last answer
	answers map[answer]uint64
	latency histogram // from when an event was due to its answer
	service histogram // from its sending to its answer
	late    histogram // from when it was due, with a connection free, to its sending
	missed  uint64    // events that were due and not sent
	wrong   uint64
	inARow  uint64
	failed  []uint64 // events of a plan that were not accepted, if they are kept
	keep    bool
}

func newTally() *tally { return &tally{answers: map[answer]uint64{}} }

func (t *tally) begin() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began = time.Now()
	t.ended = t.began
	return t.began
}

// take returns the number of the next event. It reports false when there are enough.
func (t *tally) take(events uint64) (n uint64, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if events > 0 && t.taken >= events {
		return 0, false
	}
	t.taken++
	return t.taken - 1, true
}

// giveBack takes back an event that was not sent.
func (t *tally) giveBack() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
}

// measure holds the durations of one request.
type measure struct{ latency, service, late time.Duration }

// answered counts an answer. It reports false when there were enough failures.
func (t *tally) answered(n uint64, a answer, m measure) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = time.Now()
	t.answers[a]++
	if t.keep && a.Status != http.StatusNoContent {
		t.failed = append(t.failed, n)
	}
	if a == stopped {
		return true
	}
	t.latency.add(m.latency)
	t.service.add(m.service)
	t.late.add(m.late)
	if a.Status == http.StatusNoContent {
		t.inARow = 0
		return true
	}
	t.inARow++
	if !a.byLoad() {
		t.wrong++
	}
	return t.wrong < mostWrong && t.inARow < mostInARow
}

// byLoad reports whether load can be the cause of a failure.
func (a answer) byLoad() bool {
	return a.Status == 0 || a.Status/100 == 5 || a.Status == http.StatusTooManyRequests
}

// accepted returns the number of events that were accepted.
func (t *tally) accepted() uint64 { return t.answers[answer{Status: http.StatusNoContent}] }

// end counts the events that were due and not sent: each has waited until now, at least.
func (t *tally) end(p plan, began time.Time, complete bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.rate == 0 || !complete {
		return
	}
	now := time.Now()
	for n := t.taken; n < p.events; n++ {
		due := p.due(began, n)
		if due.After(now) {
			return
		}
		t.latency.add(now.Sub(due))
		t.missed++
	}
}

// tooManyFailures reports whether the failures ended the run.
func (t *tally) tooManyFailures() bool { return t.wrong >= mostWrong || t.inARow >= mostInARow }
