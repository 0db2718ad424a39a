package testkit

import (
	"testing"
	"time"
)

// Patience bounds how long a test waits for a condition. Only a test that fails, or a busy
// machine, uses it up.
const Patience = 30 * time.Second

// Eventually waits until a condition holds. On failure it reports the last state that the
// condition returned.
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
