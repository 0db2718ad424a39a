package projector

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/clerksync/clerksync/internal/store"
)

// action is the next step for a batch after an attempt to apply it.
type action int

const (
	settle action = iota // the batch is applied: acknowledge it
	halve                // one of its events is refused: find it
	park                 // the only event is refused: it becomes a dead letter
	retry                // the error is temporary: try again after a pause
)

// decide returns the action for the result of an attempt, and the pause before a retry.
// size is the number of events in the batch; attempt counts from 1.
//
// No number of attempts makes it give up: an event that PostgreSQL does not refuse for its
// content is applied as soon as PostgreSQL is healthy.
func decide(err error, size, attempt int) (action, time.Duration) {
	refused := errors.Is(err, store.ErrRefused)
	switch {
	case err == nil:
		return settle, 0
	case refused && size > 1:
		return halve, 0
	case refused:
		return park, 0
	}
	return retry, backoff(attempt)
}

const (
	minBackoff = 20 * time.Millisecond // by then a deadlock or a race between two batches is over
	maxBackoff = 5 * time.Second       // bounds the delay after PostgreSQL is back
)

// backoff doubles with every attempt, minus a random part of up to half, so that appliers
// that failed together do not retry together.
func backoff(attempt int) time.Duration {
	d := maxBackoff
	if attempt < 10 {
		d = min(maxBackoff, minBackoff<<(attempt-1))
	}
	return d - rand.N(d/2)
}
