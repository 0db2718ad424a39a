package source

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clerksync/clerksync/internal/clerk"
)

// findGone finds what is live here and gone at Clerk. It adds the ids to gone.
func (r *Reconciler) findGone(ctx context.Context, kind clerk.Kind, gone map[string]bool) error {
	var suspects []*Difference
	live, after := 0, ""
	for {
		rows, last, err := r.o.Store.LiveAfter(ctx, kind, after, liveAtOnce)
		if err != nil {
			return err
		}
		if last == "" {
			break
		}
		live, after = live+len(rows), last
		for _, row := range rows {
			if !r.isSeen(kind, row.ID) && !gone[row.User] && !gone[row.Org] {
				d := &Difference{Name: Deleted, Kind: kind, ID: row.ID, UserID: row.User, OrgID: row.Org}
				if kind == clerk.KindMembership {
					d.Name = Extra
				}
				suspects = append(suspects, d)
			}
		}
	}
	suspects, err := r.absent(ctx, kind, suspects)
	if err != nil {
		return err
	}
	if suspects, err = r.settle(ctx, suspects); err != nil || len(suspects) == 0 {
		return err
	}
	if allowed := max(deletesAllowed, live/deletesShare); len(suspects) > allowed && !r.o.AllowDeletes {
		r.mu.Lock()
		*r.report.of(suspects[0].Name).of(kind) += int64(len(suspects))
		r.mu.Unlock()
		return &ManyDeletesError{kind, len(suspects), live, allowed}
	}
	confirmed, err := r.confirm(ctx, suspects)
	if err != nil {
		return err
	}
	// A membership can have come and gone since the list was read.
	if confirmed, err = r.settle(ctx, confirmed); err != nil {
		return err
	}
	// Clerk answers 404 also to a key whose instance is gone.
	if _, err := r.o.Client.Instance(ctx, r.instanceID); err != nil {
		return err
	}
	for _, d := range confirmed {
		gone[d.ID] = true
	}
	for part := range slices.Chunk(confirmed, pageSize) {
		if err := r.repair(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// absent returns those that Clerk leaves out when it is asked for their ids. Memberships
// cannot be asked for.
func (r *Reconciler) absent(ctx context.Context, kind clerk.Kind, suspects []*Difference) ([]*Difference, error) {
	if kind == clerk.KindMembership {
		return suspects, nil
	}
	var absent []*Difference
	for part := range slices.Chunk(suspects, idsAtOnce) {
		ids := make([]string, len(part))
		for i, d := range part {
			ids[i], d.firstSeenAt = d.ID, time.Now()
		}
		there, err := present(ctx, r.o.Client, kind, ids)
		if err != nil {
			return nil, err
		}
		absent = append(absent, slices.DeleteFunc(part, func(d *Difference) bool { return there[d.ID] })...)
	}
	return absent, nil
}

// confirm returns those that Clerk does not have when it is asked for each of them.
func (r *Reconciler) confirm(ctx context.Context, suspects []*Difference) ([]*Difference, error) {
	there := make([]bool, len(suspects))
	all, inGroup := errgroup.WithContext(ctx)
	all.SetLimit(inFlight)
	for i, d := range suspects {
		all.Go(func() (err error) {
			if d.firstSeenAt.IsZero() {
				d.firstSeenAt = time.Now()
			}
			if there[i], err = r.isThere(inGroup, d); err == nil && !there[i] && d.Kind == clerk.KindMembership {
				// A newer membership of the same user may have taken its row.
				row, rowErr := r.o.Store.Membership(inGroup, d.ID)
				there[i], err = row == nil, rowErr
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	var confirmed []*Difference
	for i, d := range suspects {
		if !there[i] {
			confirmed = append(confirmed, d)
		}
	}
	return confirmed, nil
}
