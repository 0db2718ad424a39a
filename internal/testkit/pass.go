package testkit

import (
	"testing/synctest"
	"time"
)

// Pass advances the clock of a synctest bubble, and waits until every goroutine in the
// bubble is idle. Outside a bubble it panics.
func Pass(d time.Duration) {
	synctest.Wait()
	<-time.After(d)
	synctest.Wait()
}
