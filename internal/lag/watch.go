package lag

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/background"
)

const (
	// watchInterval is the time between readings.
	watchInterval = 5 * time.Second

	// learnInterval is the time between two updates of the habit.
	learnInterval = 10 * time.Minute
)

// Sample is a reading reduced to what charts show.
type Sample struct {
	At               time.Time          `json:"at"`
	State            State              `json:"state"`
	Pending          *uint64            `json:"pending"`
	OldestPendingAge *float64           `json:"oldest_pending_age_seconds"`
	Delivery         *Quantiles         `json:"delivery_seconds"` // null when nothing was applied since the sample before
	Queue            *Quantiles         `json:"queue_seconds"`
	EndToEnd         *Quantiles         `json:"end_to_end_seconds"`
	Outcomes         map[string]float64 `json:"outcomes"` // events per second by outcome, of this process; null without a worker
	Received         map[string]float64 `json:"received"` // deliveries per second by outcome, of this process; null without a receiver
}

// Watch takes a reading every few seconds, keeps a day of samples, and writes the latest
// reading to PostgreSQL, for the view sync_lag.
type Watch struct {
	meter    *Meter
	gatherer prometheus.Gatherer

	mu          sync.Mutex
	latest      *Reading
	history     history
	before      counters
	subscribers map[chan struct{}]bool

	loop    background.Loop
	learned time.Time // when the habit was last learned
}

// NewWatch returns a watch that has not started. gatherer has the counters of this
// process.
func NewWatch(meter *Meter, gatherer prometheus.Gatherer) *Watch {
	return &Watch{meter: meter, gatherer: gatherer, subscribers: map[chan struct{}]bool{}}
}

// Start starts measuring and returns.
func (w *Watch) Start() {
	w.loop.Start(0, watchInterval, func(ctx context.Context) {
		w.take(ctx)
		if time.Since(w.learned) > learnInterval && w.meter.Learn(ctx) == nil {
			w.learned = time.Now()
		}
	})
}

// Stop ends it. It can be called again, and before Start.
func (w *Watch) Stop(ctx context.Context) error { return w.loop.Stop(ctx) }

// take takes and publishes one reading.
func (w *Watch) take(ctx context.Context) {
	r := w.meter.Measure(ctx)
	if ctx.Err() != nil {
		return
	}
	w.save(ctx, r)
	now := w.count()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Sample{At: r.MeasuredAt, State: r.State, Pending: r.Pending, OldestPendingAge: r.OldestPendingAge}
	s.Outcomes, s.Received = now.rates(w.before)
	if w.latest == nil || r.EndToEnd != w.latest.EndToEnd { // the meter returns new quantiles only for new events
		s.Delivery, s.Queue, s.EndToEnd = r.Delivery, r.Queue, r.EndToEnd
	}
	w.latest, w.before = r, now
	w.history.add(s)
	for c := range w.subscribers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// save writes a reading to PostgreSQL, if it answers.
func (w *Watch) save(ctx context.Context, r *Reading) {
	if w.meter.store == nil || !r.PostgreSQL.OK {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	text, err := json.Marshal(r)
	if err == nil {
		err = w.meter.store.SaveReading(ctx, text)
	}
	if err != nil {
		w.meter.logger.Debug("the reading was not written into PostgreSQL", "err", err)
	}
}

// Latest returns the latest reading, nil before the first.
func (w *Watch) Latest() *Reading {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latest
}

// History returns the samples of the last day, oldest first: all of the last hour, and of
// those before one a minute.
func (w *Watch) History() []Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.history.samples()
}

// Subscribe returns a channel that receives a value after each reading; a slow receiver
// gets one for all it missed. The function ends the subscription.
func (w *Watch) Subscribe() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	w.subscribers[c] = true
	w.mu.Unlock()
	return c, func() {
		w.mu.Lock()
		delete(w.subscribers, c)
		w.mu.Unlock()
	}
}

// counters are the counters of this process by outcome.
type counters struct {
	at                time.Time
	applied, received map[string]float64
}

func (w *Watch) count() counters {
	c := counters{at: time.Now()}
	families, _ := w.gatherer.Gather() // a partial result is still useful
	for _, family := range families {
		var into *map[string]float64
		switch family.GetName() {
		case "clerksync_applied_total":
			into = &c.applied
		case "clerksync_received_total":
			into = &c.received
		default:
			continue
		}
		*into = map[string]float64{}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				(*into)[label.GetValue()] = metric.GetCounter().GetValue()
			}
		}
	}
	return c
}

// rates returns the increase per second since before.
func (c counters) rates(before counters) (applied, received map[string]float64) {
	seconds := c.at.Sub(before.at).Seconds()
	per := func(now, was map[string]float64) map[string]float64 {
		if now == nil || was == nil || seconds <= 0 {
			return nil
		}
		rates := map[string]float64{}
		for name, n := range now {
			rates[name] = (n - was[name]) / seconds
		}
		return rates
	}
	return per(c.applied, before.applied), per(c.received, before.received)
}
