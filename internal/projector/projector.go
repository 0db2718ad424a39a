package projector

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/tracing"
)

// maxBatchBytes bounds a batch of large events.
const maxBatchBytes = 8 << 20

// ready is how many events wait between the log and the next batch. Few, since nothing
// bounds their size: the log keeps more of them ready, up to some MB.
const ready = 16

// Log is the source of events and the store of dead letters.
type Log interface {
	// Consume delivers events until ctx ends or there are no more, and then returns nil.
	// It never calls deliver concurrently.
	Consume(ctx context.Context, deliver func(*eventlog.Message)) error

	Park(ctx context.Context, e *clerk.Event, d eventlog.Death) error
}

// Options configure a Projector.
type Options struct {
	Log Log

	// Apply applies a batch, as [store.Store.Apply] does.
	Apply func(context.Context, []store.Entry) ([]store.Outcome, error)

	Appliers int // batches applied concurrently; 0 is 1
	Batch    int // the most events in a transaction; 0 is 1
	Logger   *slog.Logger
	Tracer   *tracing.Tracer // nil when nothing is traced

	// Registry gets the metrics. Without one, as in a replay, whose events are old, no lag
	// is measured.
	Registry prometheus.Registerer

	// Settled, if set, is called with every event that is settled, and with why it was
	// parked, by several goroutines.
	Settled func(m *eventlog.Message, outcome store.Outcome, parked string)

	// testOnlyCommitted is called between the commit of a batch and its acks. When it
	// returns false, the batch is left as a killed process would leave it.
	testOnlyCommitted func() bool
}

// Projector applies the events of a log.
type Projector struct {
	log          Log
	applyEntries func(context.Context, []store.Entry) ([]store.Outcome, error)
	appliers     int
	batch        int
	logger       *slog.Logger
	tracer       *tracing.Tracer
	metrics      *instruments
	measuresLag  bool // lag is measured
	settled      func(*eventlog.Message, store.Outcome, string)

	testOnlyCommitted func() bool

	feed     chan *eventlog.Message
	consumer sync.WaitGroup
	workers  sync.WaitGroup
	failing  atomic.Pointer[failure]
	busy     atomic.Int64  // appliers
	done     atomic.Uint64 // settled events

	stopping context.Context // its end stops the consumer and the retries
	stop     context.CancelFunc
	abort    context.Context // its end cancels batches in flight
	cut      context.CancelFunc
}

// failure is the reason why batches fail, and since when.
type failure struct {
	err   error
	since time.Time
}

// New makes a projector. It does nothing until it is started.
func New(o Options) *Projector {
	p := &Projector{
		log: o.Log, applyEntries: o.Apply, appliers: max(1, o.Appliers), batch: max(1, o.Batch), logger: o.Logger, tracer: o.Tracer,
		metrics: newInstruments(o.Registry), settled: o.Settled, testOnlyCommitted: o.testOnlyCommitted, measuresLag: o.Registry != nil,
	}
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	p.registerState(o.Registry)
	p.feed = make(chan *eventlog.Message, ready)
	p.abort, p.cut = context.WithCancel(context.Background())
	p.stopping, p.stop = context.WithCancel(p.abort)
	return p
}

// Start begins to project and returns. It must be called once, before Stop.
func (p *Projector) Start() {
	p.consumer.Go(func() {
		defer close(p.feed)
		p.consume(p.stopping)
	})
	p.workers.Go(p.dispatch)
}

// Wait returns when there are no more events and all are settled, or when the projector
// was stopped.
func (p *Projector) Wait() {
	p.consumer.Wait()
	p.workers.Wait()
}

// consume feeds the appliers until ctx or the events end.
func (p *Projector) consume(ctx context.Context) {
	deliver := func(m *eventlog.Message) {
		if ctx.Err() != nil {
			p.giveBack(m)
			return
		}
		select {
		case p.feed <- m:
		case <-ctx.Done():
			p.giveBack(m)
		}
	}
	for ctx.Err() == nil {
		err := p.log.Consume(ctx, deliver)
		if err == nil {
			return
		}
		p.logger.Warn("the event log cannot be read, trying again", "err", err, "delay", maxBackoff)
		wait(ctx, maxBackoff)
	}
}

// Stop takes no more events, finishes the batches in flight within ctx unless they fail,
// and returns the rest to the log. It can be called again.
func (p *Projector) Stop(ctx context.Context) error {
	p.stop()
	disarm := context.AfterFunc(ctx, p.cut)
	defer disarm()
	p.Wait()
	p.cut()
	return ctx.Err()
}

// Failing returns why batches fail and since when, nil when they do not.
func (p *Projector) Failing() (since time.Time, err error) {
	if f := p.failing.Load(); f != nil {
		return f.since, f.err
	}
	return time.Time{}, nil
}

// Appliers returns how many batches can be applied concurrently, and how many are.
func (p *Projector) Appliers() (all, busy int) { return p.appliers, int(p.busy.Load()) }

// Settled returns how many events were settled since the start.
func (p *Projector) Settled() uint64 { return p.done.Load() }

// A lone event is applied at once. When the last batch began within stream, the next one waits
// until linger after its first event, since events that were stored together do not arrive at
// the same moment, and until spacing after that beginning: a transaction costs nearly the same
// whatever it carries. A full one waits for nothing.
const (
	linger  = 300 * time.Microsecond
	spacing = 2 * time.Millisecond
	stream  = 10 * time.Millisecond
)

// overdue is how long a batch may run before another applier begins beside it: one that waits
// for a lock must not hold up what could be applied.
const overdue = 100 * time.Millisecond

// dispatch cuts the feed into batches and has them applied, until the feed is closed. While
// one batch is in PostgreSQL the next one gathers, so the slower PostgreSQL is, the larger
// they are. Another applier only begins when a whole batch waits, since batches that run at
// the same time wait for the locks of each other; or when the last one is late.
func (p *Projector) dispatch() {
	var batch []*eventlog.Message
	var bytes, busy int
	var began, first time.Time // of the last batch, and of the next one's first event
	done := make(chan struct{}, p.appliers)
	begin := time.NewTimer(0)
	defer begin.Stop()
	for feed := p.feed; feed != nil || len(batch) > 0 || busy > 0; {
		full := len(batch) >= p.batch || bytes >= maxBatchBytes || feed == nil
		var early time.Duration
		switch since := time.Since(began); {
		case busy > 0:
			early = overdue - since
		case first.Sub(began) < stream:
			early = max(linger-time.Since(first), spacing-since)
		}
		if len(batch) > 0 && busy < p.appliers && (full || early <= 0) {
			cut := batch
			p.workers.Go(func() {
				p.project(cut)
				done <- struct{}{}
			})
			busy++
			p.busy.Store(int64(busy))
			batch, bytes, began = nil, 0, time.Now()
			continue
		}
		more, wake := feed, (<-chan time.Time)(nil)
		if full {
			more = nil
		}
		if len(batch) > 0 && busy < p.appliers {
			begin.Reset(early)
			wake = begin.C
		}
		select {
		case m, ok := <-more:
			if !ok {
				feed = nil
				continue
			}
			if len(batch) == 0 {
				first = time.Now()
			}
			batch, bytes = append(batch, m), bytes+len(m.Event.Body)
		case <-done:
			busy--
			p.busy.Store(int64(busy))
		case <-wake:
		}
	}
}

// item is a stored event and its change.
type item struct {
	message *eventlog.Message
	change  *clerk.Change
}

// project applies a batch and settles it.
func (p *Projector) project(batch []*eventlog.Message) {
	items := make([]item, 0, len(batch))
	for _, m := range batch {
		if m.Deliveries > 1 {
			p.metrics.redelivered.Inc()
		}
		change, err := clerk.ParseChange(m.Event)
		switch {
		case err != nil:
			p.park(m, clerk.Reason(err), err)
		case change == nil:
			p.settle(m, store.Ignored, "", nil)
		default:
			items = append(items, item{m, change})
		}
	}
	if len(items) > 0 {
		p.apply(items)
	}
}

// apply applies the items, all or half by half, and retries without end.
func (p *Projector) apply(items []item) {
	entries := make([]store.Entry, len(items))
	for i, it := range items {
		entries[i] = store.Entry{Change: it.change, Seq: it.message.Seq}
	}
	for attempt := 1; ; attempt++ {
		started := time.Now()
		outcomes, span, err := p.transact(items, entries)
		switch act, pause := decide(err, len(items), attempt); act {
		case settle:
			applied := time.Now()
			p.failing.Store(nil)
			p.metrics.batchSize.Observe(float64(len(items)))
			p.metrics.applyDuration.Observe(applied.Sub(started).Seconds())
			if p.testOnlyCommitted != nil && !p.testOnlyCommitted() {
				return
			}
			for i, it := range items {
				p.observe(it, outcomes[i], applied)
				p.settle(it.message, outcomes[i], "", span)
			}
			return
		case halve:
			p.failing.Store(nil) // a refusal is an answer
			p.apply(items[:len(items)/2])
			p.apply(items[len(items)/2:])
			return
		case park:
			p.failing.Store(nil)
			p.park(items[0].message, eventlog.ReasonRefused, err)
			return
		case retry:
			if p.stopping.Err() != nil { // the log delivers them again
				for _, it := range items {
					p.giveBack(it.message)
				}
				return
			}
			p.fail(err, attempt, len(items), pause)
			wait(p.stopping, pause)
		}
	}
}

// transact makes one attempt to apply the items, and returns its span.
func (p *Projector) transact(items []item, entries []store.Entry) ([]store.Outcome, *tracing.Applying, error) {
	ctx, span := p.tracer.Apply(p.abort, len(items))
	if span != nil {
		for _, it := range items {
			span.Link(it.message.Event.Trace)
		}
	}
	outcomes, err := p.applyEntries(ctx, entries)
	switch {
	case err == nil:
		span.End(tracing.Committed)
	case errors.Is(err, store.ErrRefused):
		span.End(tracing.Refused)
	default:
		span.End(tracing.Failed)
	}
	return outcomes, span, err
}

// observe measures the lag of an event that was just applied. An import, or an event
// without a time, says nothing about the lag behind Clerk.
func (p *Projector) observe(it item, outcome store.Outcome, applied time.Time) {
	if !p.measuresLag {
		return
	}
	p.metrics.queueLag.Observe(it.message.StoredAt, applied)
	emitted := it.message.Event.Envelope.EventAt
	if outcome == store.Applied && it.message.Event.Origin == clerk.OriginWebhook && emitted != 0 {
		p.metrics.endToEndLag.Observe(time.UnixMilli(emitted), applied)
	}
}

// fail records a failed attempt. It logs from the second on: the first may be a race
// between two batches.
func (p *Projector) fail(err error, attempt, size int, pause time.Duration) {
	p.metrics.retries.Inc()
	now := &failure{err, time.Now()}
	if was := p.failing.Load(); was != nil { // the cause may have changed, the outage goes on
		now.since = was.since
	}
	p.failing.Store(now)
	if attempt > 1 {
		p.logger.Warn("a batch was not applied, trying again", "err", err, "events", size, "attempt", attempt, "delay", pause)
	}
}

// park makes a dead letter of an event, and retries without end.
func (p *Projector) park(m *eventlog.Message, reason string, cause error) {
	death := eventlog.Death{Reason: reason, Err: cause, Attempts: m.Deliveries, Seq: m.Seq}
	for attempt := 1; ; attempt++ {
		err := p.log.Park(p.abort, m.Event, death)
		if err == nil {
			break
		}
		if p.stopping.Err() != nil {
			p.giveBack(m)
			return
		}
		p.logger.Warn("a dead letter was not stored, trying again", "seq", m.Seq, "err", err)
		wait(p.stopping, backoff(attempt))
	}
	p.metrics.dead.WithLabelValues(reason).Inc()
	p.logger.Warn("an event can never be applied and was parked", "seq", m.Seq, "svix_id", m.Event.ID, "reason", reason, "err", cause)
	p.settle(m, store.Dead, reason, nil)
}

// settle acknowledges an event that is done. parked is why it was parked, "" otherwise. span
// is that of the transaction that applied it, nil when there was none.
func (p *Projector) settle(m *eventlog.Message, outcome store.Outcome, parked string, span *tracing.Applying) {
	p.tracer.Project(tracing.Projected{
		Traceparent: m.Event.Trace, Seq: m.Seq, Deliveries: m.Deliveries, DeliveredAt: m.DeliveredAt, Outcome: string(outcome), Applying: span,
	})
	if err := m.Ack(); err != nil {
		p.logger.Warn("an event was not acknowledged and will be delivered again", "seq", m.Seq, "err", err)
	}
	p.metrics.applied.WithLabelValues(string(outcome)).Inc()
	p.done.Add(1)
	if p.settled != nil {
		p.settled(m, outcome, parked)
	}
}

func (p *Projector) giveBack(m *eventlog.Message) {
	if err := m.Return(); err != nil {
		p.logger.Debug("an event was not returned to the log and will be delivered again later", "seq", m.Seq, "err", err)
	}
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
