package lag

import (
	"context"
	"slices"
	"time"

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
		if !ok || msg.Event.Envelope.EventAt == 0 { // the time of emission is unknown
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
