package receiver

import (
	"container/list"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
)

const (
	// maxHeld bounds the memory of all bodies that arrive or wait for their answer, in
	// bytes. The systemd unit gives the process 1 GB, and Svix's library copies a body
	// twice to verify it.
	maxHeld = 64 << 20

	// usualBody is the size up to which a body gets its memory at once: Clerk's users take
	// 2 to 4 KB. Beyond it memory grows with what has arrived: announcing a size costs an
	// attacker nothing.
	usualBody = 8 << 10

	// bodyTimeout is the time that a body has to arrive, from the end of the head. Anyone
	// can send one.
	bodyTimeout = 3 * time.Second
)

var (
	errTooLarge = errors.New("the body is too large")
	errGaveWay  = errors.New("the body gave way to others")
)

// budget is the memory of the bodies. When it is used up, the body that has been arriving
// the longest gives way, those beyond the usual size first: a slow sender never keeps out
// one whose body is there.
type budget struct {
	mu      sync.Mutex
	free    int
	reserve int       // of free, for bodies of the usual size
	leaving int       // held by bodies that gave way
	left    sync.Cond // a body gave way, or returned memory

	usual, large list.List // of *body: those that arrive, the first in front
}

func newBudget(bytes int) *budget {
	b := &budget{free: bytes, reserve: bytes / 4}
	b.left.L = &b.mu
	return b
}

// body is the body of one request.
type body struct {
	budget  *budget
	conn    *http.ResponseController
	held    int // bytes of the budget
	gaveWay bool

	list    *list.List // nil when it is whole or gave way
	element *list.Element
}

// open begins a body. It must be closed.
func (b *budget) open(conn *http.ResponseController) *body {
	d := &body{budget: b, conn: conn}
	b.mu.Lock()
	defer b.mu.Unlock()
	d.enter(&b.usual)
	return d
}

// grow takes n more bytes of the budget. It reports false when the body gave way.
func (d *body) grow(n int) bool {
	b := d.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	reserve := 0
	if d.held > 0 && !d.gaveWay { // beyond the usual size
		reserve = b.reserve
		if d.list != &b.large {
			d.leave()
			d.enter(&b.large)
		}
	}
	for !d.gaveWay && b.free-reserve < n {
		if b.free+b.leaving-reserve >= n {
			b.left.Wait()
			continue
		}
		first := b.large.Front()
		if first == nil {
			first = b.usual.Front()
		}
		first.Value.(*body).giveWay() // maybe this one
	}
	if d.gaveWay {
		return false
	}
	b.free -= n
	d.held += n
	return true
}

// giveWay ends the reading of the body, which then returns its memory. The budget is
// locked.
func (d *body) giveWay() {
	d.gaveWay = true
	d.leave()
	d.budget.leaving += d.held
	d.budget.left.Broadcast()
	d.conn.SetReadDeadline(time.Unix(1, 0))
}

// enter puts the body into a list of those that arrive, and leave takes it out. The budget
// is locked.
func (d *body) enter(l *list.List) { d.list, d.element = l, l.PushBack(d) }

func (d *body) leave() {
	if d.list != nil {
		d.list.Remove(d.element)
		d.list = nil
	}
}

// shrink returns n bytes.
func (d *body) shrink(n int) {
	b := d.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	d.held -= n
	b.free += n
	if d.gaveWay {
		b.leaving -= n
	}
	b.left.Broadcast()
}

// whole ends the arrival of a body that is there. It reports false when the body gave way.
func (d *body) whole() bool {
	d.budget.mu.Lock()
	defer d.budget.mu.Unlock()
	d.leave()
	return !d.gaveWay
}

// close returns all memory of the body.
func (d *body) close() {
	d.whole()
	d.shrink(d.held)
}

// read reads the whole body of a request.
func (d *body) read(req *http.Request) ([]byte, error) {
	announced := int(min(req.ContentLength, clerk.MaxBody+1)) // -1 when it is not
	limit := clerk.MaxBody + 1
	switch {
	case announced > clerk.MaxBody:
		return nil, errTooLarge
	case announced >= 0:
		limit = announced
	}
	var buf []byte
	for len(buf) != announced {
		if len(buf) == cap(buf) {
			size := min(max(2*cap(buf), usualBody), limit)
			if !d.grow(size) {
				return nil, errGaveWay
			}
			former := cap(buf)
			buf = append(make([]byte, 0, size), buf...)
			if former > 0 {
				d.shrink(former)
			}
		}
		n, err := req.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > clerk.MaxBody {
			return nil, errTooLarge
		}
		if err == io.EOF && (announced < 0 || len(buf) == announced) {
			break
		}
		if err != nil {
			if !d.whole() {
				err = errGaveWay
			}
			return nil, err
		}
	}
	if !d.whole() {
		return nil, errGaveWay
	}
	// The deadline is for the body. While the event is stored, the server waits on the
	// connection to learn when the client leaves.
	d.conn.SetReadDeadline(time.Time{})
	return buf, nil
}
