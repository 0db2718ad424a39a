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
	// measureTimeout bounds one reading.
	measureTimeout = 5 * time.Second

	// askTimeout bounds every request to the log or PostgreSQL.
	askTimeout = 2 * time.Second

	// sampled events, the last ones, give the lags and the usual gap.
	sampled = 256

	// A rate is taken over at most rateWindow and at least rateLeast.
	rateWindow = 30 * time.Second
	rateLeast  = 500 * time.Millisecond

	// clockTolerance is by how much two clocks may disagree without a warning.
	clockTolerance = time.Second
)

// Meter measures how far the rows are behind Clerk. It keeps no counters: everything
// comes from the log, the workers and the heads in PostgreSQL. So it is right in every
// process, after a restart, with several workers and with none.
type Meter struct {
	log    *eventlog.Log
	store  *store.Store // nil: no lags, and PostgreSQL is not checked
	worker bool         // the worker of this process uses the store
	logger *slog.Logger

	mu        sync.Mutex // one reading at a time
	recent    recent
	lags      lags
	pace      pace
	oldest    patience
	outage    time.Time // since when PostgreSQL has not answered
	habit     habit
	last      *Reading
	lastBegan time.Time
}

// NewMeter returns a meter. The store may be nil; then there are no lags. worker means
// that the worker of this process writes to the store: an outage of it is then the
// worker's too.
func NewMeter(log *eventlog.Log, st *store.Store, worker bool, logger *slog.Logger) *Meter {
	return &Meter{log: log, store: st, worker: worker, logger: logger}
}

// facts are the input of a verdict.
type facts struct {
	reading   *Reading
	logErr    error
	asking    bool          // a worker waits for events, even if it does not answer
	pgOutage  time.Time     // zero when PostgreSQL answers, or the outage does not affect the workers
	still     time.Duration // how long nothing was applied although events wait
	falling   bool          // more is stored than is applied
	attempted bool          // a worker has run once
}

// Measure takes a reading. A value that cannot be measured is null. Concurrent callers
// share a reading, never one that began before their call.
func (m *Meter) Measure(ctx context.Context) *Reading {
	asked := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last != nil && m.lastBegan.After(asked) {
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
	if asker.Err() != nil { // a cancelled request says nothing about the log or PostgreSQL
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
	if workersErr == nil && err == nil { // while the log does not answer, a silent worker may still run
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
		if r.OldestPendingAge != nil { // before it was stored there was nothing to apply
			f.still = min(f.still, seconds(*r.OldestPendingAge))
		}
		f.falling = r.StoredPerSecond != nil && *r.StoredPerSecond > *r.AppliedPerSecond && m.pace.growing()
	}
	judge(&f)
	m.last, m.lastBegan = r, now
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

// measureLog fills in the values that follow from the backlog.
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
		r.Warnings = append(r.Warnings, "the lags cannot be read: "+store.Outage(err)+"; run clerksync doctor")
		return
	}
	r.Delivery, r.Queue, r.EndToEnd = m.lags.delivery, m.lags.queue, m.lags.endToEnd
}
