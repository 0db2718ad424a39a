package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

const (
	// pullTimeout bounds one pull, with the wait for the worker.
	pullTimeout = 30 * time.Second

	// pullShare is the part of the rate limit that pulls may use: ids can be made up.
	pullShare = 10

	// pullRequests are the requests of a pull of a user or a small organization.
	pullRequests = 2

	// unknownFor is how long an id that Clerk does not know is not asked for again. It is
	// short: somebody who has just signed up may not be known everywhere at Clerk.
	unknownFor = 10 * time.Second

	// appliedInterval is the time between two questions whether a worker has applied what
	// was pulled, which takes a few milliseconds.
	appliedInterval = 10 * time.Millisecond

	// headsAtOnce bounds the heads that one query reads.
	headsAtOnce = 100
)

var (
	// ErrUnknown means that Clerk has no such entity.
	ErrUnknown = errors.New("unknown to Clerk")

	// ErrBusy means that too many entities were pulled within a short time.
	ErrBusy = errors.New("too many pulls: they may use a tenth of the rate limit of the Clerk instance")

	// ErrNotApplied means that what was pulled is in the log, and was not applied in time.
	ErrNotApplied = errors.New("it is in the event log and not applied yet")
)

// PullerOptions configure a [Puller].
type PullerOptions struct {
	Client     *Client
	Log        *eventlog.Log
	Store      *store.Store
	InstanceID string // the instance that the key has to be of; "" for that of the tables
	Logger     *slog.Logger
}

// Puller stores snapshots of single users and organizations, for the moment before their
// webhook has come. It is safe for concurrent use.
type Puller struct {
	o       PullerOptions
	limit   *rate.Limiter
	flights singleflight.Group

	closing context.Context // ends the pulls in progress
	close   context.CancelFunc
	running sync.WaitGroup

	mu         sync.Mutex           // not held while anything is awaited
	instanceID string               // of the key, "" until Clerk has said it
	unknown    map[string]time.Time // until when the id counts as unknown to Clerk

	testOnlyTimeout time.Duration // 0: pullTimeout
}

// NewPuller returns a puller. It sends nothing before the first pull.
func NewPuller(o PullerOptions) *Puller {
	n := max(pullRequests, o.Client.rate/pullShare)
	p := &Puller{o: o, limit: rate.NewLimiter(rate.Limit(float64(n)/window.Seconds()), n), unknown: map[string]time.Time{}}
	p.closing, p.close = context.WithCancel(context.Background())
	return p
}

// Close ends the pulls in progress and waits for them. Later ones fail.
func (p *Puller) Close() {
	p.mu.Lock()
	p.close()
	p.mu.Unlock()
	p.running.Wait()
}

// Pulled is what a pull stored.
type Pulled struct {
	Kind        clerk.Kind
	Memberships int
	Counts      archive.Counts
}

// Pull fetches a user or an organization with its memberships, stores them, and waits
// until they are applied. Concurrent calls for one id share one pull, which goes on when
// ctx of its caller ends, up to 30 seconds: others may wait for it. The error is
// [ErrUnknown], [ErrBusy] or [ErrNotApplied], one of [Backfill.Run] about the secret key,
// or of the requests; with a [Pulled], something is in the log nevertheless.
func (p *Puller) Pull(ctx context.Context, id string) (*Pulled, error) {
	kind, ok := clerk.KindOfID(id)
	if !ok || kind == clerk.KindMembership || !clerk.ValidToken(id) {
		return nil, errors.New("not the id of a user or an organization")
	}
	r, err := p.share(ctx, id, func(ctx context.Context) (any, error) { return p.pull(ctx, kind, id) })
	pulled, _ := r.(*Pulled)
	return pulled, err
}

// share calls f once for all who ask for the same at the same time. Its time does not end
// with ctx.
func (p *Puller) share(ctx context.Context, key string, f func(context.Context) (any, error)) (any, error) {
	flight := p.flights.DoChan(key, func() (any, error) {
		p.mu.Lock()
		if err := p.closing.Err(); err != nil {
			p.mu.Unlock()
			return nil, err
		}
		p.running.Add(1) // never when Close waits already
		p.mu.Unlock()
		defer p.running.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(p.testOnlyTimeout, pullTimeout))
		defer cancel()
		defer context.AfterFunc(p.closing, cancel)()
		return f(ctx)
	})
	select {
	case r := <-flight:
		return r.Val, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// instance returns the instance of the key, which Clerk is asked for once.
func (p *Puller) instance(ctx context.Context) (string, error) {
	p.mu.Lock()
	known := p.instanceID
	p.mu.Unlock()
	if known != "" {
		return known, nil
	}
	id, err := p.share(ctx, "", func(ctx context.Context) (any, error) {
		id, err := identify(ctx, p.o.Client, p.o.Store, p.o.InstanceID)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		p.instanceID = id
		p.mu.Unlock()
		return id, nil
	})
	if err != nil {
		return "", err
	}
	return id.(string), nil
}

func (p *Puller) pull(ctx context.Context, kind clerk.Kind, id string) (*Pulled, error) {
	p.mu.Lock()
	recent := time.Now().Before(p.unknown[id])
	p.mu.Unlock()
	if recent {
		return nil, ErrUnknown
	}
	if !p.limit.AllowN(time.Now(), pullRequests) {
		return nil, ErrBusy
	}
	instanceID, err := p.instance(ctx)
	if err != nil {
		return nil, err
	}
	events, err := p.fetch(ctx, kind, id, instanceID)
	if isNotFound(err) {
		p.mu.Lock()
		defer p.mu.Unlock()
		maps.DeleteFunc(p.unknown, func(_ string, until time.Time) bool { return time.Now().After(until) })
		p.unknown[id] = time.Now().Add(unknownFor)
		return nil, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if err != nil {
		return nil, err
	}
	ingest := archive.NewIngest(ctx, p.o.Log)
	err = ingest.Store(events)
	err = errors.Join(err, ingest.Wait())
	counts := ingest.Counts()
	switch {
	case err == nil:
		err = awaitApplied(ctx, p.o.Store, events)
	case counts == archive.Counts{}:
		return nil, err
	}
	return &Pulled{kind, len(events) - 1, counts}, err
}

// fetch returns the snapshots of an entity and its memberships.
func (p *Puller) fetch(ctx context.Context, kind clerk.Kind, id, instanceID string) ([]*clerk.Event, error) {
	path := paths[kind] + "/" + id
	asked := time.Now()
	var data jsontext.Value
	if err := p.o.Client.get(ctx, path, nil, &data); err != nil {
		return nil, err
	}
	snapshot, err := clerk.NewSnapshot(kind, data, instanceID, clerk.OriginReadThrough, asked)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if snapshot.Event.Envelope.EntityID != id {
		return nil, fmt.Errorf("GET %s: Clerk answered with another id", path)
	}
	memberships := map[clerk.Kind]string{clerk.KindUser: "/organization_memberships", clerk.KindOrganization: "/memberships"}[kind]
	s := series{
		client: p.o.Client, kind: clerk.KindMembership, path: path + memberships, logger: p.o.Logger,
		instanceID: instanceID, origin: clerk.OriginReadThrough,
	}
	events := []*clerk.Event{snapshot.Event}
	err = s.each(ctx, &position{}, func(page *page) error {
		events = append(events, page.events()...)
		if !page.last && p.limit.Wait(ctx) != nil { // pullRequests has the first page
			return ErrBusy
		}
		return nil
	})
	return events, err
}

// awaitApplied returns when every event, or a newer one, is applied.
func awaitApplied(ctx context.Context, st *store.Store, events []*clerk.Event) error {
	tick := time.NewTicker(appliedInterval)
	defer tick.Stop()
	for {
		var err error
		if events, err = notApplied(ctx, st, events); err != nil || len(events) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ErrNotApplied
		}
	}
}

// notApplied returns the events that are not applied. It asks for some at a time.
func notApplied(ctx context.Context, st *store.Store, events []*clerk.Event) ([]*clerk.Event, error) {
	n := min(len(events), headsAtOnce)
	ids := make([]string, n)
	for i, e := range events[:n] {
		ids[i] = e.Envelope.EntityID
	}
	heads, err := st.HeadsOfIDs(ctx, ids)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ErrNotApplied
		}
		return nil, err
	}
	var pending []*clerk.Event
	for _, e := range events[:n] {
		version := clerk.Version{UpdatedAt: e.Envelope.EventAt, EventAt: e.Envelope.EventAt, EventID: e.ID}
		h := heads[e.Envelope.EntityID]
		if h == nil || (clerk.Version{Deleted: h.Deleted, UpdatedAt: h.UpdatedAt.UnixMilli(), EventAt: h.EventAt.UnixMilli(), EventID: h.EventID}).Compare(version) < 0 {
			pending = append(pending, e)
		}
	}
	return append(pending, events[n:]...), nil
}
