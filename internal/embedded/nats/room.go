package nats

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// reserve is what is kept free on the disk of the event log, in bytes. A server
	// that meets a full disk in the middle of a write takes nothing more until it is
	// started anew, room or not; so it is kept from meeting one.
	reserve = 64 << 20

	// roomAge is how long a look at the disk counts. At the highest rates seen, the
	// log grows by a few megabytes in this time.
	roomAge = 200 * time.Millisecond
)

// look is what was found on the disk, and when.
type look struct {
	at  time.Time
	err error
}

// room looks at the disk now and then.
type room struct {
	dir  string
	free func(dir string) (bytes uint64, ok bool)
	last atomic.Pointer[look]
}

// Room returns an error while the disk of the event log has too little room to take
// more. It is cheap enough to be asked for every event.
func (n *Server) Room() error { return n.room.check() }

func (r *room) check() error {
	if last := r.last.Load(); last != nil && time.Since(last.at) < roomAge {
		return last.err
	}
	now := &look{at: time.Now()}
	if free, ok := r.free(r.dir); ok && free < reserve {
		now.err = fmt.Errorf("the disk of %s has %d MB free, at least %d are kept: make room, or set CLERKSYNC_LOG_MAX_BYTES", r.dir, free>>20, reserve>>20)
	}
	r.last.Store(now)
	return now.err
}
