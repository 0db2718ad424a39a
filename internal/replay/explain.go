package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Reason is why a row may differ from the log.
type Reason string

// The reasons. Nothing that clerksync does explains the last three.
const (
	Erased   Reason = "erased"    // the person was erased
	Cut      Reason = "cut"       // its event is no longer in the log
	Pending  Reason = "pending"   // an event about it is not applied yet
	Moved    Reason = "moved"     // it changed during the comparison
	Parked   Reason = "parked"    // an event about it is a dead letter
	Follows  Reason = "follows"   // it depends on another entity, which differs
	OtherLog Reason = "other_log" // its event is of another log than this one
	Missed   Reason = "missed"    // an event was not applied
	Changed  Reason = "changed"   // the row was changed by other means, or made by another version
)

// Explained reports whether a difference for this reason is expected.
func (r Reason) Explained() bool { return r != OtherLog && r != Missed && r != Changed }

const whyMoved = "it changed during the comparison"

const whyChanged = "the row was not changed by clerksync, or was made by another version of it: clerksync replay --reapply writes it again"

// explainer finds the reasons of differences.
type explainer struct {
	log    *eventlog.Log
	state  eventlog.State  // of the log, before the tables were read
	to     uint64          // the last sequence in the rebuilt tables
	last   uint64          // the last sequence of the log after the tables were read, 0 when it was not needed
	parked map[uint64]bool // sequences of events that are dead letters

	tables, scratch *store.Store
	differ          map[entity]bool   // entities whose heads differ
	claims          map[string]string // addresses that one of them claims in either copy, and its id
}

// note records the heads and addresses of a finding because of which other rows may
// differ. A row that was only changed by hand affects no other.
func (e *explainer) note(f *Finding) {
	switch {
	case f.Table == "entity_heads":
		e.differ[entity{f.Kind, f.ClerkID}] = true
		return
	case f.Table != "users" || f.Reason == Changed:
		return
	}
	for _, c := range f.Columns {
		if c.Name != "primary_email" {
			continue
		}
		for _, value := range []json.RawMessage{c.InTables, c.InLog} {
			var address string
			if json.Unmarshal(value, &address) == nil && address != "" {
				e.claims[address] = f.ClerkID
			}
		}
	}
}

func (e *explainer) explain(ctx context.Context, d *store.Difference) (Reason, string, error) {
	live, log := d.HeadInTables, d.HeadInLog
	order := version(live).Compare(version(log))
	switch {
	case live != nil && live.RestoredAt != nil && log != nil && (log.RestoredAt == nil || !log.RestoredAt.Equal(*live.RestoredAt)):
		return Moved, "it was restored during the comparison", nil
	case live != nil && live.Deleted && (live.ErasedAt != nil || live.Erasing) && (log == nil || version(log).EventAt < 0): // below a stub
		return Erased, "the person was erased: the log no longer has events about them", nil
	case live != nil && (log == nil || order > 0): // the tables have a newer version
		return e.explainNewer(ctx, live)
	case log != nil && (live == nil || order < 0): // the log has a newer version
		seq := uint64(log.EventSeq)
		switch {
		case seq > e.state.AppliedThrough:
			return Pending, fmt.Sprintf("event %d is stored and not applied yet", seq), nil
		case e.parked[seq]:
			return Parked, fmt.Sprintf("event %d is a dead letter, though it could be applied now: clerksync dead retry", seq), nil
		}
		return Missed, fmt.Sprintf("event %d is settled, and the tables do not have it: clerksync replay --seq %d", seq, seq), nil
	case d.Table == "org_memberships" && d.OnlyIn != "",
		d.Table == "users" && d.OnlyIn == "" && !slices.ContainsFunc(d.Columns, func(c store.ColumnDifference) bool { return c.Name != "email" }):
		return Follows, "", nil // perhaps: see explainFollower
	}
	return Changed, whyChanged, nil
}

// explainFollower explains a row that may differ because of another entity, once it is
// known which entities differ by themselves.
func (e *explainer) explainFollower(ctx context.Context, d *store.Difference) (Reason, string, error) {
	if d.Kind == clerk.KindUser {
		address, err := e.scratch.EmailClaimedBy(ctx, d.ClerkID)
		if err != nil {
			return "", "", err
		}
		var claimants []string
		if id, ok := e.claims[address]; ok {
			claimants = append(claimants, id)
		}
		for _, s := range []*store.Store{e.tables, e.scratch} {
			ids, err := s.UsersByEmail(ctx, address)
			if err != nil {
				return "", "", err
			}
			claimants = append(claimants, ids...)
		}
		for _, id := range claimants {
			if e.differ[entity{clerk.KindUser, id}] {
				return Follows, fmt.Sprintf("one of the users that claim the address holds it, and %s, another of them, differs", id), nil
			}
		}
		return Changed, whyChanged, nil
	}
	has := e.tables
	if d.OnlyIn == "log" {
		has = e.scratch
	}
	m, err := has.Membership(ctx, d.ClerkID)
	if err != nil {
		return "", "", err
	}
	if m == nil {
		return Moved, whyMoved, nil
	}
	for _, other := range []entity{{clerk.KindUser, m.UserID}, {clerk.KindOrganization, m.OrgID}} {
		if e.differ[other] {
			return Follows, fmt.Sprintf("it has a row while its user and its organization are live, and %s differs", other.id), nil
		}
	}
	inTables, err := e.tables.Seat(ctx, m.UserID, m.OrgID)
	if err != nil {
		return "", "", err
	}
	inLog, err := e.scratch.Seat(ctx, m.UserID, m.OrgID)
	if err != nil {
		return "", "", err
	}
	if inTables != inLog {
		return Follows, "of several memberships of one user in one organization the latest has a row, and another of them differs", nil
	}
	return Changed, whyChanged, nil
}

// explainNewer explains a head that is newer than all that the log has about the entity.
func (e *explainer) explainNewer(ctx context.Context, live *db.EntityHead) (Reason, string, error) {
	seq := uint64(live.EventSeq)
	if seq > e.to {
		if e.last == 0 {
			state, err := e.log.State(ctx)
			if err != nil {
				return "", "", err
			}
			e.last = state.Last
		}
		if seq <= e.last {
			return Moved, whyMoved, nil
		}
		return OtherLog, fmt.Sprintf("the event that made it (sequence %d) is of another log: this one ends with %d", seq, e.last), nil
	}
	m, err := e.get(ctx, seq)
	switch {
	case err != nil:
		return "", "", err
	case m == nil:
		return Cut, fmt.Sprintf("the event that made it (sequence %d) is no longer in the log: it was older than the log keeps, or was erased", seq), nil
	case m.Event.ID != live.EventID:
		return OtherLog, fmt.Sprintf("the event that made it (%s, sequence %d) is of another log: this one has another event there", live.EventID, seq), nil
	}
	return Changed, fmt.Sprintf("the log has the event that made it (sequence %d), and it says something else", seq), nil
}

// get reads an event, nil when it is not in the log.
func (e *explainer) get(ctx context.Context, seq uint64) (*eventlog.Message, error) {
	if seq < max(e.state.First, 1) {
		return nil, nil
	}
	m, err := e.log.Get(ctx, seq)
	if errors.Is(err, eventlog.ErrNotFound) {
		return nil, nil
	}
	return m, err
}

func version(h *db.EntityHead) clerk.Version {
	if h == nil {
		return clerk.Version{}
	}
	return clerk.Version{Deleted: h.Deleted, UpdatedAt: h.UpdatedAt.UnixMilli(), EventAt: h.EventAt.UnixMilli(), EventID: h.EventID}
}
