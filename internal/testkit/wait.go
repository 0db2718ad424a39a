package testkit

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what has to happen. A busy machine needs
// some; a test that passes does not use it.
const Patience = 30 * time.Second

// Eventually waits until a condition holds. The condition returns the state, to be
// reported when it does not.
func Eventually(t testing.TB, what string, condition func() (ok bool, state any)) {
	t.Helper()
	deadline := time.After(Patience)
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, state := condition()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not after %s: %s; last seen: %v", Patience, what, state)
		}
	}
}
