package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

const (
	// measureTimeout bounds one reading, whatever does not answer.
	measureTimeout = 5 * time.Second

	// askTimeout bounds every question to a neighbour.
	askTimeout = 2 * time.Second

	// sampled is how many of the last events the lags and the usual gap are made of.
	sampled = 256

	// rateWindow is how far back a rate looks, and rateLeast the shortest time that makes
	// one.
	rateWindow = 30 * time.Second
	rateLeast  = 500 * time.Millisecond

	// clockTolerance is how much earlier than it was emitted an event may be received.
	clockTolerance = time.Second
)

// Meter measures how far the rows are behind Clerk. All it says comes from the log, from
// the workers, which it asks, and from the heads in PostgreSQL: so it is right in every
// process, after a restart, with several workers and with none.
type Meter struct {
	log    *eventlog.Log
	store  *store.Store // nil: without the lags and PostgreSQL's health
	logger *slog.Logger

	mu      sync.Mutex // one reading at a time
	recent  recent
	lags    lags
	pace    pace
	oldest  patience
	outage  time.Time // since when PostgreSQL does not answer
	habit   habit
	last    *Reading
	lastEnd time.Time
}

// NewMeter makes a meter. Without a store, nil, there are no lags.
func NewMeter(log *eventlog.Log, st *store.Store, logger *slog.Logger) *Meter {
	return &Meter{log: log, store: st, logger: logger}
}

// facts are what a verdict is made of, and no more.
type facts struct {
	reading   *Reading
	logErr    error
	asking    bool // a worker waits for events, whether or not it answers
	pgOutage  time.Time
	still     time.Duration // for how long nothing was applied although events wait
	falling   bool          // more is stored than is applied
	attempted bool          // a worker was there once
}

// shared is for how long a reading is good for the next who asks.
const shared = 300 * time.Millisecond

// Measure takes a reading. What cannot be measured is null in it.
func (m *Meter) Measure(ctx context.Context) *Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last != nil && time.Since(m.lastEnd) < shared {
		return m.last
	}
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	now := time.Now()
	r := &Reading{MeasuredAt: now.UTC(), Warnings: []string{}}
	f := facts{reading: r}

	var workers []eventlog.Worker
	var workersErr error
	var asked sync.WaitGroup
	asked.Go(func() { workers, workersErr = m.log.Workers() })
	asked.Go(func() { m.askPostgreSQL(ctx, r) })
	b, err := m.askLog(ctx)
	asked.Wait()

	if r.PostgreSQL != nil && !r.PostgreSQL.OK {
		if m.outage.IsZero() {
			m.outage = now
		}
		f.pgOutage = m.outage
	} else {
		m.outage = time.Time{}
	}
	if workersErr == nil {
		r.Workers = workers
	}
	if err != nil {
		m.logger.Debug("the event log cannot be read", "err", err)
		r.EventLog = Neighbour{Error: "the event log cannot be read"}
		f.logErr = err
		m.pace, m.oldest = pace{}, patience{}
	} else {
		r.EventLog = Neighbour{OK: true, Events: b.Events, Bytes: b.Bytes, MaxBytes: b.MaxBytes}
		f.asking, f.attempted = b.Asking, b.AppliedThrough > 0
		m.measureLog(ctx, r, b, now)
		f.still = m.pace.still(now)
		f.falling = r.StoredPerSecond != nil && *r.StoredPerSecond > *r.AppliedPerSecond
	}
	judge(&f)
	m.last, m.lastEnd = r, time.Now()
	return r
}

func (m *Meter) askPostgreSQL(ctx context.Context, r *Reading) {
	if m.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r.PostgreSQL = &Neighbour{OK: true}
	if err := m.store.Ping(ctx); err != nil {
		r.PostgreSQL = &Neighbour{Error: store.Outage(err)}
	}
}

func (m *Meter) askLog(ctx context.Context) (*eventlog.Backlog, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return m.log.Backlog(ctx)
}

// measureLog fills in what follows from the state of the log.
func (m *Meter) measureLog(ctx context.Context, r *Reading, b *eventlog.Backlog, now time.Time) {
	r.Pending, r.InWork, r.DeadLetters = &b.Pending, &b.InWork, &b.DeadLetters
	r.OldestPendingAge = m.oldest.age(b, now)
	m.pace.add(b, now)
	r.StoredPerSecond, r.AppliedPerSecond = m.pace.rates()
	if r.StoredPerSecond != nil {
		if gain := *r.AppliedPerSecond - *r.StoredPerSecond; b.Pending > 0 && gain > 0 {
			left := float64(b.Pending) / gain
			r.SecondsLeft = &left
		}
	}
	if err := m.recent.read(ctx, m.log, b.Last); err != nil {
		m.logger.Debug("the last events cannot be read", "err", err)
	}
	if at := m.recent.lastReceived(); !at.IsZero() {
		r.LastEventReceivedAt = &at
		r.Silence = m.habit.silence(now.Sub(at), m.recent.usualGap())
	}
	r.instances = m.recent.instances()
	r.Warnings = append(r.Warnings, m.recent.warnings()...)
	if b.DeadLetters > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d dead letters are parked: clerksync dead ls", b.DeadLetters))
	}
	if m.store == nil || !r.PostgreSQL.OK {
		return
	}
	if err := m.lags.read(ctx, m.log, m.store, b.AppliedThrough); err != nil {
		m.logger.Debug("the lags cannot be read", "err", err)
		return
	}
	r.Delivery, r.Queue, r.EndToEnd = m.lags.delivery, m.lags.queue, m.lags.endToEnd
}

// patience knows for how long the oldest pending event has waited.
type patience struct {
	seq   uint64
	since time.Time // when this process saw it waiting first
}

// age is in seconds: 0 when nothing waits, nil when it is not known what does. It is by
// the server's clock, which wrote both times; were that clock set back, it is at least
// the time for which we have seen the event waiting.
func (p *patience) age(b *eventlog.Backlog, now time.Time) *float64 {
	if b.Oldest == nil {
		*p = patience{}
		if b.Pending > 0 {
			return nil
		}
		return new(float64)
	}
	if p.seq != b.Oldest.Seq {
		*p = patience{b.Oldest.Seq, now}
	}
	age := max(b.At.Sub(b.Oldest.StoredAt), now.Sub(p.since), time.Millisecond).Seconds()
	return &age
}

// pace is how fast events are stored and applied.
type pace struct {
	points []point
	moved  time.Time // when something was applied, or nothing waited, last
}

type point struct {
	at                     time.Time
	last, applied, pending uint64
}

func (p *pace) add(b *eventlog.Backlog, now time.Time) {
	next := point{now, b.Last, b.Last - min(b.Pending, b.Last), b.Pending}
	if n := len(p.points); n > 0 && next.last < p.points[n-1].last { // another log
		*p = pace{}
	}
	if n := len(p.points); n == 0 || b.Pending == 0 || next.applied > p.points[n-1].applied {
		p.moved = now
	}
	p.points = append(p.points, next)
	for len(p.points) > 2 && now.Sub(p.points[1].at) > rateWindow {
		p.points = p.points[1:]
	}
}

// rates are events per second, nil as long as they are not known.
func (p *pace) rates() (stored, applied *float64) {
	if len(p.points) < 2 {
		return nil, nil
	}
	first, last := p.points[0], p.points[len(p.points)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds < rateLeast.Seconds() {
		return nil, nil
	}
	s := float64(last.last-first.last) / seconds
	a := max(float64(last.applied)-float64(first.applied), 0) / seconds
	return &s, &a
}

// still is for how long nothing was applied although events wait, as far as we have
// seen.
func (p *pace) still(now time.Time) time.Duration {
	if len(p.points) == 0 {
		return 0
	}
	return now.Sub(p.moved)
}

// recent are the last events that Svix delivered.
type recent struct {
	events []received
	read0  bool   // they were read once
	last   uint64 // the log was read up to here
}

type received struct {
	emitted, received, stored time.Time
	instance                  string
}

// read goes on reading the log, from where the last time ended, or from further on when
// that is too much.
func (e *recent) read(ctx context.Context, log *eventlog.Log, last uint64) error {
	if e.read0 && last <= e.last {
		if last < e.last { // another log
			*e = recent{}
		}
		return nil
	}
	f := eventlog.Filter{Types: log.Types(), To: last}
	if e.read0 {
		f.From = max(e.last+1, last-min(last, 2*sampled)+1)
	} else {
		f.Last = sampled
	}
	if last == 0 {
		return nil
	}
	scan, err := log.Events(ctx, f, true)
	if err != nil {
		return err
	}
	err = scan.Each(ctx, func(msg *eventlog.Message) error {
		if msg.Event.Origin == clerk.OriginWebhook {
			e.events = append(e.events, received{
				time.UnixMilli(msg.Event.Envelope.EventAt), msg.Event.ReceivedAt, msg.StoredAt, msg.Event.Envelope.InstanceID,
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.read0, e.last = true, last
	e.events = slices.Delete(e.events, 0, max(len(e.events)-sampled, 0))
	return nil
}

func (e *recent) lastReceived() time.Time {
	if len(e.events) == 0 {
		return time.Time{}
	}
	return e.events[len(e.events)-1].received.UTC()
}

// instances is how many Clerk instances the last events are of.
func (e *recent) instances() int {
	seen := map[string]bool{}
	for _, r := range e.events {
		if r.instance != "" {
			seen[r.instance] = true
		}
	}
	return len(seen)
}

func (e *recent) warnings() []string {
	var all []string
	if n := e.instances(); n > 1 {
		all = append(all, fmt.Sprintf("the last events are of %d Clerk instances, and one database holds one: set CLERK_INSTANCE_ID", n))
	}
	var early time.Duration
	for _, r := range e.events {
		early = max(early, r.emitted.Sub(r.received))
	}
	if early > clockTolerance {
		all = append(all, fmt.Sprintf("events were received up to %s before they were emitted: the clock of the receiver is slow", spell(early)))
	}
	return all
}

// lags are the lags of the events that were applied last.
type lags struct {
	through                   uint64
	known                     bool
	delivery, queue, endToEnd *Quantiles
}

func (l *lags) read(ctx context.Context, log *eventlog.Log, st *store.Store, through uint64) error {
	if l.known && l.through == through {
		return nil
	}
	*l = lags{}
	if through == 0 {
		return nil
	}
	f := eventlog.Filter{Types: log.Types(), From: through - min(through, sampled) + 1, To: through}
	scan, err := log.Events(ctx, f, true)
	if err != nil {
		return err
	}
	var events []*eventlog.Message
	var refs []store.Ref
	err = scan.Each(ctx, func(msg *eventlog.Message) error {
		e := msg.Event
		if kind := clerk.KindOfType(e.Envelope.Type); kind != "" && e.Origin == clerk.OriginWebhook {
			events = append(events, msg)
			refs = append(refs, store.Ref{Kind: kind, ID: e.Envelope.EntityID, Seq: msg.Seq})
		}
		return nil
	})
	if err != nil {
		return err
	}
	applied, err := st.AppliedAt(ctx, refs)
	if err != nil {
		return err
	}
	var delivery, queue, endToEnd []float64
	for _, msg := range events {
		at, ok := applied[msg.Seq]
		if !ok {
			continue
		}
		emitted := time.UnixMilli(msg.Event.Envelope.EventAt)
		delivery = append(delivery, msg.Event.ReceivedAt.Sub(emitted).Seconds())
		queue = append(queue, at.Sub(msg.StoredAt).Seconds())
		endToEnd = append(endToEnd, at.Sub(emitted).Seconds())
	}
	*l = lags{through, true, quantiles(delivery), quantiles(queue), quantiles(endToEnd)}
	return nil
}

// quantiles are by nearest rank. What is below 0, because two clocks differ, is 0.
func quantiles(all []float64) *Quantiles {
	n := len(all)
	if n == 0 {
		return nil
	}
	slices.Sort(all)
	rank := func(percent int) float64 { return max(all[(n*percent+99)/100-1], 0) }
	return &Quantiles{P50: rank(50), P99: rank(99), Events: n}
}
