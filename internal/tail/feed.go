package tail

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/store"
)

// The subjects. No stream covers them. The lines go to a fixed subject and not to one that
// the watcher names: that could be the subject of a stored event.
const (
	leaseSubject = "clerk.tail.lease"
	linesSubject = "clerk.tail.lines"
)

const (
	// lease is how long a process publishes after a watcher was last heard of, and renewal
	// how often a watcher is heard of.
	lease   = 5 * time.Second
	renewal = time.Second

	// perSecond limits the lines of a process for each outcome, so that a flood of refused
	// deliveries does not hide the applied ones.
	perSecond = 200
)

// Marked ends the svix-id of a delivery that is shown whatever the limit: a load test marks
// an even sample of its own.
const Marked = "_marked"

// Feed publishes the events of one process to those who watch. Its methods are safe for
// concurrent use.
type Feed struct {
	nc      *nats.Conn
	leases  *nats.Subscription
	watched atomic.Bool
	expiry  *time.Timer // of the lease

	mu       sync.Mutex
	second   time.Time       // begin of the second that sent counts
	sent     map[Outcome]int // lines
	notShown int
}

// NewFeed makes the feed of a process. It begins watched: whoever watched the process
// before its restart misses nothing.
func NewFeed(nc *nats.Conn) (*Feed, error) {
	f := &Feed{nc: nc, sent: map[Outcome]int{}}
	f.watched.Store(true)
	f.expiry = time.AfterFunc(lease, func() { f.watched.Store(false) })
	var err error
	f.leases, err = nc.Subscribe(leaseSubject, func(msg *nats.Msg) {
		f.expiry.Reset(lease)
		f.watched.Store(true)
		if msg.Reply != "" {
			_ = msg.Respond(nil) // to a watcher that begins
		}
	})
	if err != nil {
		f.expiry.Stop()
		return nil, fmt.Errorf("subscribe to %s: %w", leaseSubject, err)
	}
	return f, nil
}

// Close ends the feed.
func (f *Feed) Close() {
	_ = f.leases.Unsubscribe() // fails only when the connection is closed
	f.expiry.Stop()
	f.watched.Store(false)
}

// Answered is for [receiver.Options].Answered.
func (f *Feed) Answered(d receiver.Delivery) {
	if !f.watched.Load() {
		return
	}
	var e Event
	if d.Event != nil {
		e = newEvent(d.Event)
	} else {
		e = Event{At: time.Now().UTC(), SvixID: word(d.SvixID)}
	}
	e.Outcome, e.Reason, e.Seq, e.DurationMS = Outcome(d.Outcome), d.Reason, d.Seq, milliseconds(d.Took)
	if d.Status/100 != 2 {
		e.Outcome, e.Status, e.Answer = Refused, d.Status, d.Text
	}
	f.publish(e)
}

// Settled is for [projector.Options].Settled.
func (f *Feed) Settled(m *eventlog.Message, outcome store.Outcome, reason string) {
	if !f.watched.Load() {
		return
	}
	e := newEvent(m.Event)
	e.Outcome, e.Reason, e.Seq = outcomes[outcome], reason, m.Seq
	received := m.Event.ReceivedAt
	if received.IsZero() || m.Event.Origin == clerk.OriginImport { // received long ago, by another log
		received = m.StoredAt
	}
	e.DurationMS = milliseconds(e.At.Sub(received))
	f.publish(e)
}

// publish sends a line, or counts it as not shown.
func (f *Feed) publish(e Event) {
	// A refused delivery has no sequence: anyone could mark it.
	if marked := e.Seq != 0 && strings.HasSuffix(e.SvixID, Marked); !marked && !f.admit(e) {
		return
	}
	if line, err := json.Marshal(e); err == nil {
		_ = f.nc.Publish(linesSubject, line) // a lost line is no harm
	}
}

// admit reports whether a line is within the limit.
func (f *Feed) admit(e Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.At.Sub(f.second) >= time.Second {
		f.second = e.At
		clear(f.sent)
	}
	f.sent[e.Outcome]++
	if f.sent[e.Outcome] <= perSecond {
		return true
	}
	if e.Outcome == Stored { // counted when it is applied
		return false
	}
	if f.notShown == 0 {
		time.AfterFunc(time.Second, f.tell)
	}
	f.notShown++
	return false
}

// tell publishes how many lines were not.
func (f *Feed) tell() {
	f.mu.Lock()
	e := Event{At: time.Now().UTC(), Outcome: NotShown, NotShown: f.notShown}
	f.notShown = 0
	f.mu.Unlock()
	if line, err := json.Marshal(e); err == nil {
		_ = f.nc.Publish(linesSubject, line)
	}
}
