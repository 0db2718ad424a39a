package source

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clerksync/clerksync/internal/archive"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

const (
	// inFlight is how many segments are read concurrently, each with one request at a time.
	inFlight = 8

	// maxSegments bounds the segments that the users are cut into. They are of equal time,
	// not of equal size: many of them keep all readers busy until shortly before the end.
	maxSegments = 64

	// segmentPages is how many pages a segment has to have on average, to be worth the two
	// requests that its ends cost.
	segmentPages = 4
)

// BackfillOptions configure a [Backfill].
type BackfillOptions struct {
	Client     *Client
	Log        *eventlog.Log
	Store      *store.Store
	InstanceID string // the instance that the key has to be of; "" for that of the tables
	Restart    bool   // forget the checkpoints of a run that was stopped
	Logger     *slog.Logger
}

// Backfill stores a snapshot of every user, organization and membership that Clerk has.
// It writes a checkpoint after every page that is durable in the log, and the next one
// goes on from there.
type Backfill struct {
	o      BackfillOptions
	saved  *store.Backfill
	run    *store.BackfillRun
	ingest *archive.Ingest

	mu       sync.Mutex
	progress Progress
}

// Totals are numbers of entities.
type Totals struct {
	Users         int64 `json:"users"`
	Organizations int64 `json:"organizations"`
	Memberships   int64 `json:"memberships"`
}

// Sum returns the number of all.
func (t Totals) Sum() int64 { return t.Users + t.Organizations + t.Memberships }

func (t *Totals) of(kind clerk.Kind) *int64 {
	switch kind {
	case clerk.KindUser:
		return &t.Users
	case clerk.KindOrganization:
		return &t.Organizations
	}
	return &t.Memberships
}

// Progress is how far a run is.
type Progress struct {
	Resumed bool           // it went on from the checkpoints of a run that was stopped
	Read    Totals         // durable in the log, also those of the run that was stopped
	Refused Totals         // of those, how many no event can hold
	Clerk   Totals         // as Clerk counts them
	Stored  archive.Counts // by this process
}

// Report is the outcome of a run that read everything.
type Report struct {
	Progress

	// Missing are the entities that Clerk counts and that were not read, beyond those that
	// were deleted while the run lasted.
	Missing Totals

	// Incomplete are organizations of which not all memberships were read.
	Incomplete []string
}

// Complete reports whether everything that Clerk counts is in the log.
func (r *Report) Complete() bool {
	return r.Missing == Totals{} && r.Refused == Totals{} && len(r.Incomplete) == 0
}

// NewBackfill returns a backfill.
func NewBackfill(o BackfillOptions) *Backfill { return &Backfill{o: o} }

// Progress returns how far the run is.
func (b *Backfill) Progress() Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.progress
	if b.ingest != nil {
		p.Stored = b.ingest.Counts()
	}
	return p
}

// Run runs it. Nothing is stored before Clerk has accepted the key; the error is then
// [ErrKey], [ErrInstance] or [*StrangersError], and [store.ErrBackfillRuns] while another
// process runs one.
// After any other error the next run goes on.
func (b *Backfill) Run(ctx context.Context) (report *Report, err error) {
	instance, err := identify(ctx, b.o.Client, b.o.Store, b.o.InstanceID)
	if err != nil {
		return nil, err
	}
	if b.saved, err = b.o.Store.OpenBackfill(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.saved.Close()) }()
	if err := b.begin(ctx, instance); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ingest := archive.NewIngest(ctx, b.o.Log)
	defer ingest.Wait()
	stored, err := b.stored(ctx, eventlog.Filter{Types: []string{"*." + clerk.SnapshotAction}})
	if err != nil {
		return nil, err
	}
	ingest.Fresh = stored == 0
	b.mu.Lock()
	b.ingest = ingest
	b.mu.Unlock()

	if err := b.readSegments(ctx); err != nil {
		return nil, err
	}
	report, err = b.check(ctx)
	if err != nil {
		return nil, err
	}
	return report, b.saved.Finish(ctx)
}

// begin goes on with the run that was stopped, or plans another.
func (b *Backfill) begin(ctx context.Context, instance string) error {
	count, err := count(ctx, b.o.Client)
	if err != nil {
		return err
	}
	run, err := b.saved.Run(ctx)
	if err != nil {
		return err
	}
	resumed := run != nil && !b.o.Restart && run.InstanceID == instance && run.LogID == b.o.Log.ID()
	if !resumed {
		run = &store.BackfillRun{InstanceID: instance, LogID: b.o.Log.ID(), StartedAt: time.Now()}
		if run.Segments, err = plan(ctx, b.o.Client, count.Users); err != nil {
			return err
		}
		if err := b.saved.Start(ctx, run); err != nil {
			return err
		}
	}
	b.run = run
	b.mu.Lock()
	defer b.mu.Unlock()
	b.progress = Progress{Resumed: resumed, Clerk: count}
	for _, s := range run.Segments {
		*b.progress.Read.of(s.Kind) += s.Read
		*b.progress.Refused.of(s.Kind) += s.Refused
	}
	return nil
}

// count asks Clerk how many there are.
func count(ctx context.Context, c *Client) (t Totals, err error) {
	var users struct {
		Total int64 `json:"total_count"`
	}
	if err := c.get(ctx, "/users/count", nil, &users); err != nil {
		return t, err
	}
	t.Users = users.Total
	for _, kind := range []clerk.Kind{clerk.KindOrganization, clerk.KindMembership} {
		var answer list
		if err := c.get(ctx, paths[kind], url.Values{"limit": {"1"}}, &answer); err != nil {
			return t, err
		}
		*t.of(kind) = answer.total
	}
	return t, nil
}

// paths are the lists of the whole instance.
var paths = map[clerk.Kind]string{
	clerk.KindUser:         "/users",
	clerk.KindOrganization: "/organizations",
	clerk.KindMembership:   "/organization_memberships",
}

// plan cuts the users into segments of equal time. The first has no beginning and the last
// no end: users who sign up while it runs are read as well. Organizations and memberships
// have no filter by time, and are one segment each.
func plan(ctx context.Context, c *Client, users int64) ([]*store.BackfillSegment, error) {
	ofUsers := []position{{}}
	if n := min(users/(segmentPages*pageSize), maxSegments); n > 1 {
		first, err := createdAt(ctx, c, "+created_at")
		if err != nil {
			return nil, err
		}
		last, err := createdAt(ctx, c, "-created_at")
		if err != nil {
			return nil, err
		}
		for i := int64(1); i < n; i++ {
			at := &ofUsers[len(ofUsers)-1]
			if bound := first + (last-first)/n*i; bound > at.From {
				at.To = bound
				ofUsers = append(ofUsers, position{From: bound})
			}
		}
	}
	// The lists that cannot be cut take longest: they begin first.
	segments := []*store.BackfillSegment{{Kind: clerk.KindMembership}, {Kind: clerk.KindOrganization}}
	positions := append([]position{{}, {}}, ofUsers...)
	for i := range ofUsers {
		segments = append(segments, &store.BackfillSegment{Kind: clerk.KindUser, Number: i})
	}
	for i, at := range positions {
		var err error
		if segments[i].Position, err = json.Marshal(at); err != nil {
			return nil, err
		}
	}
	return segments, nil
}

// createdAt returns when the first user in an order was created, 0 when there is none.
func createdAt(ctx context.Context, c *Client, order string) (int64, error) {
	var users []struct {
		CreatedAt int64 `json:"created_at"`
	}
	err := c.get(ctx, paths[clerk.KindUser], url.Values{"order_by": {order}, "limit": {"1"}}, &users)
	if err != nil || len(users) == 0 {
		return 0, err
	}
	return users[0].CreatedAt, nil
}

func (b *Backfill) series(kind clerk.Kind, path string) *series {
	return &series{
		client: b.o.Client, kind: kind, path: path, filtered: kind == clerk.KindUser, logger: b.o.Logger,
		instanceID: b.run.InstanceID, origin: clerk.OriginBackfill,
	}
}

// storedPage is a page whose events are in the log, before its checkpoint is written.
type storedPage struct {
	segment *store.BackfillSegment // as its last checkpoint has it
	behind  *store.BackfillPage
}

// readSegments reads all segments to their ends. Reading goes on while checkpoints are
// written, and when it fails, the pages before get theirs.
func (b *Backfill) readSegments(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stored, written := make(chan storedPage, inFlight), make(chan struct{})
	go func() {
		defer close(written)
		if err := b.writeCheckpoints(ctx, stored); err != nil {
			fail(err)
		}
	}()
	all, inGroup := errgroup.WithContext(ctx)
	all.SetLimit(inFlight)
	for _, segment := range b.run.Segments {
		if !segment.Done {
			all.Go(func() error { return b.readSegment(inGroup, segment, stored) })
		}
	}
	err := all.Wait()
	close(stored)
	<-written
	return cmp.Or(context.Cause(ctx), err)
}

// readSegment reads a segment to its end, and stores its pages. It requests a page while
// the one before is stored, and when a request fails, stores what it has.
func (b *Backfill) readSegment(ctx context.Context, segment *store.BackfillSegment, stored chan<- storedPage) error {
	at := position{}
	if err := json.Unmarshal(segment.Position, &at); err != nil {
		return fmt.Errorf("read a checkpoint: %w", err)
	}
	type read struct {
		*page
		after json.RawMessage // the position behind it
		err   error
	}
	pages := make(chan read)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(pages)
		s := b.series(segment.Kind, paths[segment.Kind])
		for {
			p, err := s.next(reading, &at)
			var after json.RawMessage
			if err == nil {
				after, err = json.Marshal(at)
			}
			select {
			case pages <- read{p, after, err}:
			case <-reading.Done():
				return
			}
			if err != nil || p.last {
				return
			}
		}
	}()
	behind := *segment
	for p := range pages {
		if p.err != nil {
			return p.err
		}
		if err := b.ingest.Store(p.events()); err != nil {
			return err
		}
		behind.Position, behind.Done = p.after, p.last
		behind.Read, behind.Refused = behind.Read+int64(p.read()), behind.Refused+int64(p.refused)
		select {
		case stored <- storedPage{segment, newCheckpoint(behind, p.page)}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// newCheckpoint returns the checkpoint behind a page.
func newCheckpoint(behind store.BackfillSegment, p *page) *store.BackfillPage {
	c := &store.BackfillPage{Segment: behind, Members: map[string]int64{}, Read: map[string]int64{}}
	for _, s := range p.snapshots {
		switch e := s.Event.Envelope; behind.Kind {
		case clerk.KindOrganization:
			if s.Members >= 0 {
				c.Members[e.EntityID] = s.Members
			}
		case clerk.KindMembership:
			c.Read[e.OrgID]++
		}
	}
	return c
}

// writeCheckpoints writes the checkpoints of stored pages, those of as many as there are at
// a time: what the log holds is forced onto the disk once for all of them, before.
func (b *Backfill) writeCheckpoints(ctx context.Context, stored <-chan storedPage) error {
	for p := range stored {
		pages, checkpoints := []storedPage{p}, []*store.BackfillPage{p.behind}
		for range len(stored) {
			p := <-stored
			pages, checkpoints = append(pages, p), append(checkpoints, p.behind)
		}
		if err := b.o.Log.Sync(ctx); err != nil {
			return err
		}
		if err := b.saved.Save(ctx, checkpoints); err != nil {
			return err
		}
		b.mu.Lock()
		for _, p := range pages {
			was, is := p.segment, &p.behind.Segment
			*b.progress.Read.of(is.Kind) += is.Read - was.Read
			*b.progress.Refused.of(is.Kind) += is.Refused - was.Refused
			*was = *is
		}
		b.mu.Unlock()
	}
	return nil
}

// check compares what was read with Clerk's counts. Where an organization has other
// members than were read, it reads their own list.
func (b *Backfill) check(ctx context.Context) (*Report, error) {
	report := &Report{}
	differing, err := b.saved.Differing(ctx)
	if err != nil {
		return nil, err
	}
	stored := b.ingest.Counts().Stored
	var mu sync.Mutex
	all, inGroup := errgroup.WithContext(ctx)
	all.SetLimit(inFlight)
	for _, org := range differing {
		all.Go(func() error {
			whole, err := b.readMemberships(inGroup, org)
			if err == nil && !whole {
				mu.Lock()
				report.Incomplete = append(report.Incomplete, org)
				mu.Unlock()
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}

	before := b.Progress().Clerk
	after, err := count(ctx, b.o.Client)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.progress.Clerk = after
	b.progress.Read.Memberships += int64(b.ingest.Counts().Stored - stored)
	b.mu.Unlock()
	report.Progress = b.Progress()
	for _, of := range []struct {
		kind    clerk.Kind
		deletes string
	}{{clerk.KindUser, "user.deleted"}, {clerk.KindOrganization, "organization.deleted"}} {
		// What comes after its list was read to the end arrives as a webhook; what was
		// deleted before its page was requested is in no list.
		missing := min(*before.of(of.kind), *after.of(of.kind)) - *report.Read.of(of.kind)
		if missing > 0 {
			deleted, err := b.stored(ctx, eventlog.Filter{Types: []string{of.deletes}, Since: b.run.StartedAt})
			if err != nil {
				return nil, err
			}
			missing -= deleted
		}
		*report.Missing.of(of.kind) = max(0, missing)
	}
	return report, nil
}

// stored counts events in the log.
func (b *Backfill) stored(ctx context.Context, f eventlog.Filter) (int64, error) {
	scan, err := b.o.Log.Events(ctx, f, true)
	if err != nil {
		return 0, err
	}
	defer scan.Close()
	n, err := scan.Total(ctx)
	return int64(n), err
}

// readMemberships reads the list of one organization. It returns whether all of its
// memberships are in the log now.
func (b *Backfill) readMemberships(ctx context.Context, org string) (whole bool, err error) {
	s := b.series(clerk.KindMembership, "/organizations/"+org+"/memberships")
	var at position
	var read, refused int64
	for {
		p, err := s.next(ctx, &at)
		if isNotFound(err) {
			return true, nil // the organization is deleted
		}
		if err != nil {
			return false, err
		}
		if err := b.ingest.Store(p.events()); err != nil {
			return false, err
		}
		read, refused = read+int64(p.read()), refused+int64(p.refused)
		if p.last {
			return read >= p.total && refused == 0, b.o.Log.Sync(ctx)
		}
	}
}
