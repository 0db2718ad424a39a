package source

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

const (
	// settleTime is how long Clerk has shown a state before its absence from the log counts:
	// its webhook may be on the way. Svix repeats a failed delivery after 5 s.
	settleTime = 10 * time.Second

	// repairTimeout bounds the wait until the repairs of one page are applied.
	repairTimeout = time.Minute

	// idsAtOnce is how many ids a filter of the Backend API takes.
	idsAtOnce = 100

	// deletesAllowed and deletesShare are how many rows of a table may be found to be
	// deleted at Clerk, the greater of the two: more look like a wrong key.
	deletesAllowed = 10
	deletesShare   = 100 // one in so many

	// liveAtOnce is how many rows one query lists.
	liveAtOnce = 1000
)

// ReconcileOptions configure a [Reconciler].
type ReconcileOptions struct {
	Client     *Client
	Log        *eventlog.Log
	Store      *store.Store
	InstanceID string // the instance that the key has to be of; "" for that of the tables
	Logger     *slog.Logger

	// Since limits the users to those that Clerk updated since, and does not look for
	// deleted ones. The zero time compares all.
	Since time.Time

	Fix          bool // store repairs in the log, and wait until they are applied
	AllowDeletes bool // however many

	// Found is called with every difference, never concurrently.
	Found func(*Difference)
}

// Reconciler compares what Clerk has with the tables.
type Reconciler struct {
	o          ReconcileOptions
	instanceID string
	ingest     *archive.Ingest
	seed       maphash.Seed
	limits     limits

	mu     sync.Mutex
	report ReconcileReport
	seen   map[clerk.Kind]map[uint64]bool // hashes of the ids that Clerk has
}

// limits are times that tests shorten.
type limits struct{ settle, repair time.Duration }

// NewReconciler returns a reconciler.
func NewReconciler(o ReconcileOptions) *Reconciler {
	if o.Found == nil {
		o.Found = func(*Difference) {}
	}
	return &Reconciler{o: o, seed: maphash.MakeSeed(), limits: limits{settleTime, repairTimeout}, seen: map[clerk.Kind]map[uint64]bool{}}
}

// Report returns what was found so far.
func (r *Reconciler) Report() ReconcileReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report
}

// Run compares, and with Fix repairs. The error is [ErrKey], [ErrInstance] or
// [*StrangersError] before anything is compared, [*ManyDeletesError], [ErrNotApplied] when
// the repairs are in the log and no worker applied them, or of the requests. What was
// found before it is in the report.
//
// An entity differs when its updated_at at Clerk is greater than that of its head. Clerk
// does not document it, but every change that was observed raises it, sign-ins too. The
// data is not compared: webhooks and the Backend API leave out different fields.
//
// First Clerk's answer is read, then which events are not applied yet, then the heads. So
// an event that was in the log when Clerk answered is never called missing.
func (r *Reconciler) Run(ctx context.Context) (err error) {
	if r.instanceID, err = identify(ctx, r.o.Client, r.o.Store, r.o.InstanceID); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.ingest = archive.NewIngest(ctx, r.o.Log)
	r.ingest.Fresh = true // the ids of repairs are new with every run
	defer r.ingest.Wait()
	if err := r.compareAll(ctx); err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, kind := range clerk.Kinds() { // a membership goes with its user and organization
		if kind == clerk.KindUser && !r.o.Since.IsZero() {
			continue
		}
		if err := r.findGone(ctx, kind, gone); err != nil {
			return err
		}
	}
	return nil
}

// compareAll compares everything that Clerk has.
func (r *Reconciler) compareAll(ctx context.Context) error {
	count, err := count(ctx, r.o.Client)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.report.Clerk = count
	r.mu.Unlock()
	segments, err := plan(ctx, r.o.Client, count.Users)
	if err != nil {
		return err
	}
	all, inGroup := errgroup.WithContext(ctx)
	all.SetLimit(inFlight)
	for _, segment := range segments {
		if segment.Kind == clerk.KindUser && !r.o.Since.IsZero() {
			continue
		}
		var at position
		if err := json.Unmarshal(segment.Position, &at); err != nil {
			return err
		}
		all.Go(func() error {
			return r.each(inGroup, segment.Kind, paths[segment.Kind], &at, func(p *page) error { return r.compare(inGroup, segment.Kind, p) })
		})
	}
	if !r.o.Since.IsZero() {
		all.Go(func() error { return r.compareUpdated(inGroup) })
	}
	return all.Wait()
}

// each calls f for every page of a list, from a position on.
func (r *Reconciler) each(ctx context.Context, kind clerk.Kind, path string, at *position, f func(*page) error) error {
	s := &series{
		client: r.o.Client, kind: kind, path: path, filtered: path == paths[clerk.KindUser], logger: r.o.Logger,
		instanceID: r.instanceID, origin: clerk.OriginReconcile,
	}
	return s.each(ctx, at, f)
}

// compareUpdated compares the users that were updated since. The last updated come first,
// so a user that is updated meanwhile moves those after it to a later offset, and none is
// left out; for deletes, the pages overlap.
func (r *Reconciler) compareUpdated(ctx context.Context) error {
	for offset := 0; ; offset += pageSize - overlap {
		asked := time.Now()
		var answer list
		query := url.Values{"order_by": {"-updated_at"}, "limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)}}
		if err := r.o.Client.get(ctx, paths[clerk.KindUser], query, &answer); err != nil {
			return err
		}
		p, last := &page{}, len(answer.items) < pageSize
		for _, data := range answer.items {
			s, err := clerk.NewSnapshot(clerk.KindUser, data, r.instanceID, clerk.OriginReconcile, asked)
			switch {
			case err != nil:
				r.o.Logger.Warn("Clerk returned an entity that no event can hold", "kind", clerk.KindUser, "err", err)
			case s.Event.Envelope.EventAt < r.o.Since.UnixMilli():
				last = true
			case !r.isSeen(clerk.KindUser, s.Event.Envelope.EntityID):
				p.snapshots = append(p.snapshots, s)
			}
		}
		if err := r.compare(ctx, clerk.KindUser, p); err != nil || last {
			return err
		}
	}
}

func (r *Reconciler) isSeen(kind clerk.Kind, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[kind][maphash.String(r.seed, id)]
}

// compare compares a page with the tables.
func (r *Reconciler) compare(ctx context.Context, kind clerk.Kind, p *page) error {
	r.mu.Lock()
	if r.seen[kind] == nil {
		r.seen[kind] = map[uint64]bool{}
	}
	all := make([]*Difference, len(p.snapshots))
	for i, s := range p.snapshots {
		e := s.Event
		r.seen[kind][maphash.String(r.seed, e.Envelope.EntityID)] = true
		all[i] = &Difference{Kind: kind, ID: e.Envelope.EntityID, snapshot: s, firstSeenAt: time.UnixMilli(min(e.Envelope.EventAt, e.ReceivedAt.UnixMilli()))}
		if kind == clerk.KindMembership {
			all[i].UserID, all[i].OrgID = e.Envelope.UserID, e.Envelope.OrgID
		}
	}
	*r.report.Read.of(kind) += int64(p.read())
	r.mu.Unlock()

	suspects, err := r.differing(ctx, all)
	if err != nil || len(suspects) == 0 {
		return err
	}
	if suspects, err = r.settle(ctx, suspects); err != nil {
		return err
	}
	var found []*Difference
	for _, d := range suspects {
		// It may be deleted by now, and the tombstone be right.
		if d.Name == Tombstoned {
			if there, err := r.isThere(ctx, d); err != nil {
				return err
			} else if !there {
				continue
			}
		}
		found = append(found, d)
	}
	return r.repair(ctx, found)
}

// differing returns those that differ from their heads, and how.
func (r *Reconciler) differing(ctx context.Context, all []*Difference) ([]*Difference, error) {
	var ids []string
	for _, d := range all {
		ids = append(ids, d.ids()...)
	}
	slices.Sort(ids)
	heads, err := r.o.Store.HeadsOfIDs(ctx, slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	deleted := func(id string) bool { h := heads[id]; return h != nil && h.Deleted }
	var differing []*Difference
	for _, d := range all {
		head := heads[d.ID]
		switch {
		// The row of a membership went with its user or organization. If that is wrong, it is
		// the difference.
		case deleted(d.UserID), deleted(d.OrgID):
			continue
		case d.snapshot == nil && deleted(d.ID):
			continue
		case d.snapshot == nil:
		case deleted(d.ID):
			d.Name = Tombstoned
		case head == nil || head.EventID == "": // unknown, or a stub
			d.Name = Missing
		case head.UpdatedAt.UnixMilli() < d.snapshot.Event.Envelope.EventAt:
			d.Name = Outdated
		default:
			continue
		}
		differing = append(differing, d)
	}
	return differing, nil
}

// settle returns the suspects that still differ when their webhooks have had their time,
// and that have no event that is not applied yet.
func (r *Reconciler) settle(ctx context.Context, suspects []*Difference) ([]*Difference, error) {
	if len(suspects) == 0 {
		return nil, nil
	}
	last := slices.MaxFunc(suspects, func(a, b *Difference) int { return a.firstSeenAt.Compare(b.firstSeenAt) })
	if err := sleep(ctx, max(0, time.Until(last.firstSeenAt.Add(r.limits.settle)))); err != nil {
		return nil, err
	}
	// In this order: an event is applied before it is no longer pending.
	pending, err := r.pending(ctx, suspects)
	if err != nil {
		return nil, err
	}
	if suspects, err = r.differing(ctx, suspects); err != nil {
		return nil, err
	}
	decided := slices.DeleteFunc(suspects, func(d *Difference) bool {
		return slices.ContainsFunc(d.ids(), func(id string) bool { return pending[id] })
	})
	r.mu.Lock()
	r.report.Undecided += int64(len(suspects) - len(decided))
	r.mu.Unlock()
	return decided, nil
}

// pending returns the ids of the entities, all of one kind, that have events that are not
// applied yet, and those of the users and organizations of memberships that have a delete.
func (r *Reconciler) pending(ctx context.Context, of []*Difference) (map[string]bool, error) {
	wanted, parents := map[string]bool{}, map[string]bool{}
	for _, d := range of {
		wanted[d.ID], parents[d.UserID], parents[d.OrgID] = true, true, true
	}
	state, err := r.o.Log.State(ctx)
	if err != nil {
		return nil, err
	}
	pending := map[string]bool{}
	if state.AppliedThrough >= state.Last {
		return pending, nil
	}
	scan, err := r.o.Log.Events(ctx, eventlog.Filter{From: state.AppliedThrough + 1}, true)
	if err != nil {
		return nil, err
	}
	defer scan.Close()
	return pending, scan.Each(ctx, func(m *eventlog.Message) error {
		e := m.Event.Envelope
		_, action := clerk.SplitType(e.Type)
		if wanted[e.EntityID] || parents[e.EntityID] && action == "deleted" {
			pending[e.EntityID] = true
		}
		return nil
	})
}

// isThere asks Clerk for one entity.
func (r *Reconciler) isThere(ctx context.Context, d *Difference) (there bool, err error) {
	if d.Kind == clerk.KindMembership { // there is no request for one
		err = r.each(ctx, d.Kind, "/users/"+d.UserID+"/organization_memberships", &position{}, func(p *page) error {
			there = there || slices.ContainsFunc(p.snapshots, func(s *clerk.Snapshot) bool { return s.Event.Envelope.EntityID == d.ID })
			return nil
		})
	} else {
		var ignored struct{}
		err = r.o.Client.get(ctx, paths[d.Kind]+"/"+d.ID, nil, &ignored)
		there = err == nil
	}
	if isNotFound(err) {
		return false, nil
	}
	return there, err
}
