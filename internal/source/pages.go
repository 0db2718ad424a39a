package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/clerksync/clerksync/internal/clerk"
)

const (
	// pageSize is the largest page: a greater limit is ignored and means 10.
	pageSize = 500

	// overlap is how many entities a page found by its offset has in common with the one
	// before: so many deletes between the two leave none out without another request.
	overlap = 20

	// maxSeen bounds the ids that a position remembers.
	maxSeen = 10_000
)

// position says where the next page of a series begins. Entities are read in the order of
// their creation, which never changes, and a position is a time of creation with the ids
// that were read of it: entities that come or go meanwhile do not move it, as they move an
// offset.
type position struct {
	From int64    `json:"from"`           // created at this time or later, Unix milliseconds
	To   int64    `json:"to,omitzero"`    // created before; 0: without an end
	Seen []string `json:"seen,omitempty"` // ids of From that were read

	// Cursor is the id that the next page follows. It is needed where more users than a
	// page has were created in one millisecond: otherwise a user that is deleted meanwhile
	// could be the cursor, and Clerk does not say what it answers then.
	Cursor string `json:"cursor,omitempty"`

	// Offset is where the next page probably begins, where pages are found by offset only.
	Offset int `json:"offset,omitzero"`
}

// errUnsorted means that pages are not in the order of creation.
var errUnsorted = errors.New("the pages are not sorted by created_at, and cannot be put together")

// series is a list that is read page by page.
type series struct {
	client   *Client
	kind     clerk.Kind
	path     string
	filtered bool // by time of creation: only users can be
	logger   *slog.Logger

	instanceID string
	origin     clerk.Origin
}

// page is what one request adds to what was read before.
type page struct {
	snapshots []*clerk.Snapshot
	refused   int   // entities that no event can hold
	last      bool  // there is nothing after it
	total     int64 // of the list, if Clerk says it
}

func (p *page) read() int { return len(p.snapshots) + p.refused }

// each calls f for every page from a position on.
func (s *series) each(ctx context.Context, at *position, f func(*page) error) error {
	for {
		p, err := s.next(ctx, at)
		if err != nil {
			return err
		}
		if err := f(p); err != nil || p.last {
			return err
		}
	}
}

// next requests the page at a position, and moves the position behind it.
func (s *series) next(ctx context.Context, at *position) (*page, error) {
	if s.filtered {
		return s.nextFiltered(ctx, at)
	}
	for back := overlap; ; back *= 4 {
		offset := max(0, at.Offset-back)
		items, total, err := s.request(ctx, url.Values{"offset": {strconv.Itoa(offset)}})
		if err != nil {
			return nil, err
		}
		// The page has to begin before the position, or at it. If not, more entities were
		// deleted than the pages overlap.
		if offset > 0 && (len(items) == 0 || items[0].createdAt > at.From) {
			continue
		}
		p := s.take(at, items)
		at.Offset, p.total = offset+len(items), total
		p.last = int64(at.Offset) >= total || p.read() == 0 && len(items) <= back
		return p, nil
	}
}

func (s *series) nextFiltered(ctx context.Context, at *position) (*page, error) {
	dropped := false
	for {
		// The bounds are wider by a millisecond, for Clerk does not say whether they are
		// inclusive: take cuts what is beyond them.
		query := url.Values{}
		if at.From > 0 {
			query.Set("created_at_after", strconv.FormatInt(at.From-1, 10))
		}
		if at.To > 0 {
			query.Set("created_at_before", strconv.FormatInt(at.To, 10))
		}
		if at.Cursor != "" {
			query.Set("starting_after", at.Cursor)
		}
		items, total, err := s.request(ctx, query)
		if answer, ok := errors.AsType[*APIError](err); ok && at.Cursor != "" && !dropped && !answer.temporary() {
			at.Cursor, dropped = "", true // its user is gone: from the beginning of the millisecond
			continue
		}
		if err != nil {
			return nil, err
		}
		was := at.From
		p := s.take(at, items)
		p.total = total
		full := len(items) >= pageSize
		switch {
		case at.From > was:
			at.Cursor = ""
		case full:
			at.Cursor = items[len(items)-1].key
		}
		p.last = p.read() == 0 && !full
		if p.read() > 0 || p.last {
			return p, nil
		}
	}
}

// item is an entity on a page.
type item struct {
	key       string // its id, or if it has none a digest of its data
	createdAt int64
	snapshot  *clerk.Snapshot // nil when no event can hold it
}

func (s *series) request(ctx context.Context, query url.Values) ([]item, int64, error) {
	query.Set("order_by", "+created_at")
	query.Set("limit", strconv.Itoa(pageSize))
	if s.kind == clerk.KindOrganization {
		query.Set("include_members_count", "true")
	}
	asked := time.Now()
	var answer list
	if err := s.client.get(ctx, s.path, query, &answer); err != nil {
		return nil, 0, err
	}
	items := make([]item, 0, len(answer.items))
	var before int64
	for _, data := range answer.items {
		i := item{createdAt: before}
		snapshot, err := clerk.NewSnapshot(s.kind, data, s.instanceID, s.origin, asked)
		if err != nil {
			i.key = s.refuse(data, err)
		} else {
			i = item{snapshot.Event.Envelope.EntityID, snapshot.CreatedAt, snapshot}
		}
		if i.createdAt < before {
			return nil, 0, fmt.Errorf("GET %s: %w", s.path, errUnsorted)
		}
		before = i.createdAt
		items = append(items, i)
	}
	return items, answer.total, nil
}

// refuse reports an entity that no event can hold, and returns what tells it from others.
func (s *series) refuse(data jsontext.Value, err error) string {
	s.logger.Warn("Clerk returned an entity that no event can hold", "kind", s.kind, "err", err)
	var named struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(data, &named, lenient) == nil && clerk.ValidToken(named.ID) {
		return named.ID
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// take returns what is new in items, and moves the position behind them.
func (s *series) take(at *position, items []item) *page {
	p := &page{}
	seen := make(map[string]bool, len(at.Seen))
	for _, key := range at.Seen {
		seen[key] = true
	}
	from := at.From
	for _, i := range items {
		if i.createdAt < from || i.createdAt == from && seen[i.key] || at.To > 0 && i.createdAt >= at.To {
			continue
		}
		if i.snapshot == nil {
			p.refused++
		} else {
			p.snapshots = append(p.snapshots, i.snapshot)
		}
		if i.createdAt > at.From {
			at.From, at.Seen = i.createdAt, nil
		}
		at.Seen = append(at.Seen, i.key)
	}
	at.Seen = at.Seen[max(0, len(at.Seen)-maxSeen):]
	return p
}

// events returns the events of a page.
func (p *page) events() []*clerk.Event {
	events := make([]*clerk.Event, len(p.snapshots))
	for i, s := range p.snapshots {
		events[i] = s.Event
	}
	return events
}
