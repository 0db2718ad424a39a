package lag

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/units"
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
	worker bool         // the worker of this process writes there
	logger *slog.Logger

	mu     sync.Mutex // one reading at a time
	recent recent
	lags   lags
	pace   pace
	oldest patience
	outage time.Time // since when PostgreSQL does not answer
	habit  habit
	last   *Reading
	began  time.Time // the last reading
}

// NewMeter makes a meter. Without a store, nil, there are no lags. worker says that the
// store is what the worker of this process writes to: when it does not answer, that is
// the worker's trouble, and not only ours.
func NewMeter(log *eventlog.Log, st *store.Store, worker bool, logger *slog.Logger) *Meter {
	return &Meter{log: log, store: st, worker: worker, logger: logger}
}

// facts are what a verdict is made of, and no more.
type facts struct {
	reading   *Reading
	logErr    error
	asking    bool          // a worker waits for events, whether or not it answers
	pgOutage  time.Time     // zero when it answers, or does not concern the workers
	still     time.Duration // for how long nothing was applied although events wait
	falling   bool          // more is stored than is applied
	attempted bool          // a worker was there once
}

// Measure takes a reading. What cannot be measured is null in it. Those who ask while
// another asks share the next reading: none is from before it was asked for.
func (m *Meter) Measure(ctx context.Context) *Reading {
	asked := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last != nil && m.began.After(asked) {
		return m.last
	}
	asker := ctx
	ctx, cancel := context.WithTimeout(ctx, measureTimeout)
	defer cancel()
	now := time.Now()
	r := &Reading{MeasuredAt: now.UTC(), Warnings: []string{}}
	f := facts{reading: r}

	var workers []Worker
	var workersErr error
	var others sync.WaitGroup
	others.Go(func() { workers, workersErr = Workers(m.log) })
	others.Go(func() { m.askPostgreSQL(ctx, r) })
	b, err := m.askLog(ctx)
	others.Wait()
	if asker.Err() != nil { // what was not answered says nothing of those who were asked
		f.logErr = asker.Err()
		judge(&f)
		return r
	}

	if r.PostgreSQL != nil && !r.PostgreSQL.OK {
		if m.outage.IsZero() {
			m.outage = now
		}
		since := m.outage.UTC()
		r.PostgreSQL.Since = &since
		if m.worker || !anyWell(workers) {
			f.pgOutage = m.outage
		} else {
			r.Warnings = append(r.Warnings, r.PostgreSQL.Error+", asked from here, so the lags are not known; the workers reach it")
		}
	} else {
		m.outage = time.Time{}
	}
	if workersErr == nil && err == nil { // who does not answer while the log does not either may be there
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
		if r.OldestPendingAge != nil { // before that, there was nothing to apply
			f.still = min(f.still, seconds(*r.OldestPendingAge))
		}
		f.falling = r.StoredPerSecond != nil && *r.StoredPerSecond > *r.AppliedPerSecond && m.pace.growing()
	}
	judge(&f)
	m.last, m.began = r, now
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
		r.Warnings = append(r.Warnings, units.Count(b.DeadLetters, "dead letter is", "dead letters are")+" parked: clerksync dead ls")
	}
	if m.store == nil || !r.PostgreSQL.OK {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := m.lags.read(ctx, m.log, m.store, b.AppliedThrough); err != nil {
		m.logger.Debug("the lags cannot be read", "err", err)
		r.Warnings = append(r.Warnings, "the lags cannot be read: "+store.Outage(err)+"; clerksync doctor tells more")
		return
	}
	r.Delivery, r.Queue, r.EndToEnd = m.lags.delivery, m.lags.queue, m.lags.endToEnd
}
