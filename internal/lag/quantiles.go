package lag

import (
	"context"
	"slices"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// lags holds the lags of the last events applied.
type lags struct {
	through                   uint64
	known                     bool
	delivery, queue, endToEnd *Quantiles
}

// read reads the lags of the last events up to a sequence. When Svix delivered none of
// them, as after a backfill, those of before stay, or else are those of the last that it
// delivered.
func (l *lags) read(ctx context.Context, log *eventlog.Log, st *store.Store, through uint64, recent []received) error {
	if l.known && l.through == through {
		return nil
	}
	before := *l
	*l = lags{}
	if through == 0 {
		return nil
	}
	f := eventlog.Filter{Types: log.Types(), From: through - min(through, sampled) + 1, To: through}
	scan, err := log.Events(ctx, f, true)
	if err != nil {
		return err
	}
	var events []received
	err = scan.Each(ctx, func(msg *eventlog.Message) error {
		if e := newReceived(msg); e.ref.Kind != "" && msg.Event.Origin == clerk.OriginWebhook {
			events = append(events, e)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(events) == 0 && before.through < through && before.endToEnd != nil:
		*l = before
		l.through = through
		return nil
	case len(events) == 0:
		events = recent
	}
	var refs []store.Ref
	for _, e := range events {
		if e.ref.Kind != "" && e.ref.Seq <= through {
			refs = append(refs, e.ref)
		}
	}
	applied, err := st.AppliedAt(ctx, refs)
	if err != nil {
		return err
	}
	var delivery, queue, endToEnd []float64
	for _, e := range events {
		at, ok := applied[e.ref.Seq]
		if !ok || e.emitted.UnixMilli() == 0 { // the time of emission is unknown
			continue
		}
		delivery = append(delivery, e.received.Sub(e.emitted).Seconds())
		queue = append(queue, at.Sub(e.stored).Seconds())
		endToEnd = append(endToEnd, at.Sub(e.emitted).Seconds())
	}
	*l = lags{through, true, quantiles(delivery), quantiles(queue), quantiles(endToEnd)}
	return nil
}

// quantiles returns nearest-rank quantiles. A negative lag, from clocks that differ,
// counts as 0.
func quantiles(all []float64) *Quantiles {
	n := len(all)
	if n == 0 {
		return nil
	}
	slices.Sort(all)
	rank := func(percent int) float64 { return max(all[(n*percent+99)/100-1], 0) }
	return &Quantiles{P50: rank(50), P99: rank(99), Events: n}
}
