package projector

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/clerksync/clerksync/internal/store"
)

// action is what to do with a batch after an attempt to apply it.
type action int

const (
	settle action = iota // it is applied: acknowledge all of it
	halve                // one of it is refused: find out which
	park                 // this one is refused: it becomes a dead letter
	retry                // nothing is wrong with it: try again after a pause
)

// decide is the one place where that is decided. size is the number of events in
// the batch, attempt counts from 1.
//
// There is no number of attempts after which an event is given up: what PostgreSQL
// does not refuse for its content gets in as soon as PostgreSQL is well.
func decide(err error, size, attempt int) (action, time.Duration) {
	switch {
	case err == nil:
		return settle, 0
	case errors.Is(err, store.ErrRefused) && size > 1:
		return halve, 0
	case errors.Is(err, store.ErrRefused):
		return park, 0
	}
	return retry, backoff(attempt)
}

const (
	minBackoff = 20 * time.Millisecond // a deadlock or a race between two batches is over by then
	maxBackoff = 5 * time.Second       // when PostgreSQL is back, nobody should wait for us
)

// backoff doubles from attempt to attempt, less up to a half by chance, so that
// appliers that failed together do not come back together.
func backoff(attempt int) time.Duration {
	d := maxBackoff
	if attempt < 10 {
		d = min(maxBackoff, minBackoff<<(attempt-1))
	}
	return d - rand.N(d/2)
}
