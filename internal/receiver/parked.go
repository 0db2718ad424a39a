package receiver

import (
	"sync/atomic"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Parked says that the last deliveries were parked because they are of another Clerk
// instance. It ends with the first event of the wanted one. Probes are of no instance, and
// events whose type is not stored are not looked at: neither begins or ends it.
type Parked struct {
	Count         int    // in a row
	Came          string // instance of the last one, see [clerk.InstanceName]
	Wanted        string
	Since, LastAt time.Time
}

// Parked returns what is known about deliveries of another instance, nil when the last
// event was of the wanted one, none came yet, or every instance is accepted.
func (r *Receiver) Parked() *Parked { return r.foreign.Load() }

// foreign counts deliveries of another instance.
type foreign struct{ atomic.Pointer[Parked] }

func (f *foreign) parked(came, wanted string, at time.Time) {
	for {
		was := f.Load()
		p := &Parked{Count: 1, Came: clerk.InstanceName(came), Wanted: wanted, Since: at, LastAt: at}
		if was != nil {
			p.Count, p.Since = was.Count+1, was.Since
		}
		if f.CompareAndSwap(was, p) {
			return
		}
	}
}

func (f *foreign) ended() {
	if f.Load() != nil {
		f.Store(nil)
	}
}
