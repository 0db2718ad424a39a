package lag

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
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
	began     time.Time // of the state and cause of last, as far as this meter saw it
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
	reading  *Reading
	logErr   error
	asking   bool          // a worker waits for events, even if it does not answer
	pgOutage time.Time     // zero when PostgreSQL answers, or the outage does not affect the workers
	still    time.Duration // how long nothing was applied although events wait
	falling  bool          // more is stored than is applied
	otherLog error         // the log is not the one that the rows come from
	letter   *parked       // the last delivery, if it was parked for its Clerk instance
	warnings []finding
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
	r := &Reading{MeasuredAt: now.UTC(), Warnings: []Warning{}}
	f := facts{reading: r}

	var roll *Roll
	var rollErr error
	var others sync.WaitGroup
	others.Go(func() { roll, rollErr = RollCall(m.log) })
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
		if m.worker || rollErr != nil || !anyWell(roll.Workers) {
			f.pgOutage = m.outage
		} else {
			text := r.PostgreSQL.Error + ", asked from here, so the lags are not known; the workers reach it"
			f.warnings = append(f.warnings, finding{cause: CauseUnmeasured, text: text, fix: "run clerksync doctor with the same settings"})
		}
	} else {
		m.outage = time.Time{}
	}
	if rollErr == nil && err == nil { // while the log does not answer, a silent worker may still run
		r.Workers, r.Receivers = roll.Workers, roll.Receivers
		r.Probe = worstProbe(roll.Receivers)
		for _, w := range roll.Workers { // a receiver has no database to ask
			r.Lost = cmp.Or(r.Lost, w.Lost)
		}
	}
	if err != nil {
		m.logger.Debug("the event log cannot be read", "err", err)
		r.EventLog = Neighbour{Error: "the event log cannot be read"}
		f.logErr = err
		m.pace, m.oldest = pace{}, patience{}
	} else {
		r.EventLog = Neighbour{OK: true, ID: b.LogID, Events: b.Events, Bytes: b.Bytes, MaxBytes: b.MaxBytes}
		for _, d := range r.Receivers {
			if d.Disk != nil {
				r.EventLog.Free = &d.Disk.Free
			}
		}
		f.asking = b.Asking
		m.measureLog(ctx, &f, b, now)
		f.still = m.pace.still(now)
		if r.OldestPendingAge != nil { // before it was stored there was nothing to apply
			f.still = min(f.still, seconds(*r.OldestPendingAge))
		}
		f.falling = r.StoredPerSecond != nil && *r.StoredPerSecond > *r.AppliedPerSecond && m.pace.growing()
	}
	judge(&f)
	switch {
	case m.last == nil:
	case m.last.State != r.State || m.last.Cause != r.Cause:
		m.began = r.MeasuredAt
	}
	if r.Since == nil && !m.began.IsZero() {
		r.Since = new(m.began)
	}
	m.last, m.lastBegan = r, now
	return r
}

// worstProbe returns the probe of the receivers that fails, or else one that does not.
func worstProbe(receivers []Receiver) (worst *Probe) {
	for _, d := range receivers {
		if d.Probe != nil && (worst == nil || worst.OK && !d.Probe.OK) {
			worst = d.Probe
		}
	}
	return worst
}

func (m *Meter) askPostgreSQL(ctx context.Context, r *Reading) {
	if m.store == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r.PostgreSQL = &Neighbour{OK: true}
	if err := m.store.CheckMigrated(ctx); err != nil { // in one round trip
		r.PostgreSQL = &Neighbour{Error: store.Outage(err), Cause: CauseOf(err)}
	}
}

// CauseOf returns the cause of an error of the database.
func CauseOf(err error) string {
	if errors.Is(err, store.ErrPending) || errors.Is(err, store.ErrNewer) {
		return CauseMigrations
	}
	return CausePostgreSQL
}

func (m *Meter) askLog(ctx context.Context) (*eventlog.Backlog, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return m.log.Backlog(ctx)
}

// measureLog fills in the values that follow from the backlog.
func (m *Meter) measureLog(ctx context.Context, f *facts, b *eventlog.Backlog, now time.Time) {
	r := f.reading
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
	err := m.recent.read(ctx, m.log, b.Last)
	if err == nil {
		err = m.recent.readLetter(ctx, m.log, b)
	}
	if err != nil {
		m.logger.Debug("the last events cannot be read", "err", err)
	}
	last := b.Created
	if at := m.recent.lastReceived(); !at.IsZero() {
		r.LastEventReceivedAt, last = &at, at
	}
	r.Silence = m.habit.silence(last, now, silentAfter(r.Receivers), m.recent.usualGap())
	r.instances, f.letter = m.recent.instances(), m.recent.wrongInstance()
	f.warnings = slices.Concat(f.warnings, f.room(), m.recent.warnings())
	if b.DeadLetters > 0 {
		text := units.Count(b.DeadLetters, "dead letter is", "dead letters are") + " parked"
		f.warnings = append(f.warnings, finding{cause: CauseDeadLetters, text: text, fix: "clerksync dead ls names the reasons and what helps"})
	}
	if m.store == nil || !r.PostgreSQL.OK {
		return
	}
	if lost, err := m.lost(ctx, b); err == nil {
		r.Lost = lost
	} else if errors.Is(err, ErrOtherLog) {
		f.otherLog = err
	} else {
		m.logger.Debug("it is not known whether events are lost", "err", err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := m.lags.read(ctx, m.log, m.store, b.AppliedThrough, m.recent.events); err != nil {
		m.logger.Debug("the lags cannot be read", "err", err)
		f.warnings = append(f.warnings, finding{cause: CauseUnmeasured, text: "the lags cannot be read: " + store.Outage(err), fix: "run clerksync doctor"})
		return
	}
	r.Delivery, r.Queue, r.EndToEnd = m.lags.delivery, m.lags.queue, m.lags.endToEnd
}

// silentAfter returns the limit of silence that is set, nil when it is learned.
func silentAfter(receivers []Receiver) *float64 {
	for _, d := range receivers {
		if d.SilentAfter != nil {
			return d.SilentAfter
		}
	}
	return nil
}
