package source

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/clerksync/clerksync/internal/clerk"
)

// repair counts differences and, with Fix, stores repairs and waits until they are
// applied. A tombstone is final: only an operator's restore lifts it.
func (r *Reconciler) repair(ctx context.Context, found []*Difference) (err error) {
	if r.o.Fix {
		err = r.publish(ctx, slices.DeleteFunc(slices.Clone(found), func(d *Difference) bool { return d.Name == Tombstoned }))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range found {
		*r.report.of(d.Name).of(d.Kind)++
		if d.Fixed {
			*r.report.Fixed.of(d.Kind)++
		}
		r.o.Found(d)
	}
	return err
}

func (r *Reconciler) publish(ctx context.Context, repairs []*Difference) error {
	if len(repairs) == 0 {
		return nil
	}
	events := make([]*clerk.Event, len(repairs))
	for i, d := range repairs {
		if d.snapshot == nil {
			events[i] = clerk.Deletion{
				Kind: d.Kind, ID: d.ID, UserID: d.UserID, OrgID: d.OrgID, InstanceID: r.instanceID, SeenAt: d.firstSeenAt,
			}.Event(clerk.OriginReconcile)
			continue
		}
		// The log may hold a snapshot of this state that was never applied: parked, or from
		// before the database was restored from a backup.
		events[i] = d.snapshot.Event
		events[i].ID += "_" + strconv.FormatInt(events[i].ReceivedAt.UnixMilli(), 10)
	}
	if err := r.ingest.Store(events); err != nil {
		return err
	}
	if err := r.o.Log.Sync(ctx); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, r.limits.repair)
	defer cancel()
	if err := awaitApplied(waiting, r.o.Store, events); err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	for _, d := range repairs {
		d.Fixed = true
	}
	return nil
}
