package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
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
	InstanceID string // of the key, as [Client.Instance] returns it
	Logger     *slog.Logger
}

// Puller stores snapshots of single users and organizations, for the moment before their
// webhook has come. It is safe for concurrent use.
type Puller struct {
	o       PullerOptions
	limit   *rate.Limiter
	flights singleflight.Group

	testOnlyTimeout time.Duration // 0: pullTimeout
}

// NewPuller returns a puller.
func NewPuller(o PullerOptions) *Puller {
	n := max(1, o.Client.rate/pullShare)
	return &Puller{o: o, limit: rate.NewLimiter(rate.Limit(float64(n)/window.Seconds()), n)}
}

// Pulled is what a pull stored.
type Pulled struct {
	Kind        clerk.Kind
	Memberships int
	Counts      archive.Counts
}

// Pull fetches a user or an organization with its memberships, stores them, and waits
// until they are applied. Concurrent calls for one id share one pull. The error is
// [ErrUnknown], [ErrBusy] or [ErrNotApplied], or of the requests.
func (p *Puller) Pull(ctx context.Context, id string) (*Pulled, error) {
	kind, ok := clerk.KindOfID(id)
	if !ok || kind == clerk.KindMembership || !clerk.ValidToken(id) {
		return nil, errors.New("not the id of a user or an organization")
	}
	// Not of ctx: others may wait for the same pull when its caller gives up.
	flight := p.flights.DoChan(id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(p.testOnlyTimeout, pullTimeout))
		defer cancel()
		return p.pull(ctx, kind, id)
	})
	select {
	case r := <-flight:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*Pulled), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *Puller) pull(ctx context.Context, kind clerk.Kind, id string) (*Pulled, error) {
	if !p.limit.Allow() {
		return nil, ErrBusy
	}
	path := map[clerk.Kind]string{clerk.KindUser: "/users/", clerk.KindOrganization: "/organizations/"}[kind] + id
	asked := time.Now()
	var data jsontext.Value
	if err := p.o.Client.get(ctx, path, nil, &data); err != nil {
		return nil, unknown(err)
	}
	snapshot, err := clerk.NewSnapshot(kind, data, p.o.InstanceID, clerk.OriginReadThrough, asked)
	if err != nil {
		return nil, fmt.Errorf("GET %s: %w", path, err)
	}
	if snapshot.Event.Envelope.EntityID != id {
		return nil, fmt.Errorf("GET %s: Clerk answered with another id", path)
	}
	memberships := map[clerk.Kind]string{clerk.KindUser: "/organization_memberships", clerk.KindOrganization: "/memberships"}[kind]
	s := series{
		client: p.o.Client, kind: clerk.KindMembership, path: path + memberships, logger: p.o.Logger,
		instanceID: p.o.InstanceID, origin: clerk.OriginReadThrough,
	}
	events := []*clerk.Event{snapshot.Event}
	for at := (position{}); ; {
		page, err := s.next(ctx, &at)
		if err != nil {
			return nil, unknown(err)
		}
		events = append(events, page.events()...)
		if page.last {
			break
		}
	}
	ingest := archive.NewIngest(ctx, p.o.Log)
	err = ingest.Store(events)
	if err := errors.Join(err, ingest.Wait()); err != nil {
		return nil, err
	}
	return &Pulled{kind, len(events) - 1, ingest.Counts()}, p.awaitApplied(ctx, events)
}

// unknown turns Clerk's answer that there is no such entity into [ErrUnknown].
func unknown(err error) error {
	if answer, ok := errors.AsType[*APIError](err); ok && answer.Status == http.StatusNotFound {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}

// awaitApplied returns when every event, or a newer one, is applied.
func (p *Puller) awaitApplied(ctx context.Context, events []*clerk.Event) error {
	tick := time.NewTicker(appliedInterval)
	defer tick.Stop()
	for {
		var err error
		if events, err = p.pending(ctx, events); err != nil || len(events) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ErrNotApplied
		}
	}
}

// pending returns the events that are not applied. It asks for some at a time.
func (p *Puller) pending(ctx context.Context, events []*clerk.Event) ([]*clerk.Event, error) {
	n := min(len(events), headsAtOnce)
	var refs []store.Ref
	for i, e := range events[:n] {
		refs = append(refs, store.Ref{Kind: clerk.KindOfType(e.Envelope.Type), ID: e.Envelope.EntityID, Seq: uint64(i)})
	}
	heads, err := p.o.Store.HeadsOf(ctx, refs)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ErrNotApplied
		}
		return nil, err
	}
	var pending []*clerk.Event
	for i, e := range events[:n] {
		version := clerk.Version{UpdatedAt: e.Envelope.EventAt, EventAt: e.Envelope.EventAt, EventID: e.ID}
		h := heads[uint64(i)]
		if h == nil || (clerk.Version{Deleted: h.Deleted, UpdatedAt: h.UpdatedAt.UnixMilli(), EventAt: h.EventAt.UnixMilli(), EventID: h.EventID}).Compare(version) < 0 {
			pending = append(pending, e)
		}
	}
	return append(pending, events[n:]...), nil
}
