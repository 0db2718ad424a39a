package testkit

import (
	"testing/synctest"
	"time"
)

// Pass lets time go by in a bubble of synctest, where nobody waits for it, until
// everybody in the bubble has done what was due. Outside of one it panics.
func Pass(d time.Duration) {
	synctest.Wait()
	<-time.After(d)
	synctest.Wait()
}
