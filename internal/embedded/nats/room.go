package nats

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// Reserve is kept free on the disk of the event log, in bytes. A server that runs
	// into a full disk during a write stores nothing more until it restarts, even when
	// there is room again.
	Reserve = 64 << 20

	// roomAge is how long a check of the disk is valid. At the highest rates measured,
	// the log grows by a few megabytes in this time.
	roomAge = 200 * time.Millisecond
)

// roomCheck is the result of a check.
type roomCheck struct {
	at  time.Time
	err error
}

// room checks the free space of a disk at intervals.
type room struct {
	dir  string
	free func(dir string) (bytes uint64, ok bool)
	last atomic.Pointer[roomCheck]
}

// Room returns an error while the disk of the event log has too little room for more. It
// is cheap enough to be called for every event.
func (n *Server) Room() error { return n.room.check() }

// Free returns how many bytes are free on the disk of the event log, and false when that
// is not known.
func (n *Server) Free() (bytes uint64, ok bool) { return n.room.free(n.room.dir) }

func (r *room) check() error {
	if last := r.last.Load(); last != nil && time.Since(last.at) < roomAge {
		return last.err
	}
	now := &roomCheck{at: time.Now()}
	if free, ok := r.free(r.dir); ok && free < Reserve {
		now.err = fmt.Errorf("the disk of %s has %d MB free, at least %d are kept: make room, or set CLERKSYNC_LOG_MAX_BYTES", r.dir, free>>20, Reserve>>20)
	}
	r.last.Store(now)
	return now.err
}
