package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
)

// Reason says why a row may differ from what the log says.
type Reason string

// The reasons. The last two are explained by nothing that clerksync does.
const (
	Restored Reason = "restored" // its tombstone was lifted by hand
	Erased   Reason = "erased"   // the person was erased
	Cut      Reason = "cut"      // its event is not in the log any more
	Pending  Reason = "pending"  // an event about it is stored and not applied yet
	Moved    Reason = "moved"    // it changed while it was looked at
	Parked   Reason = "parked"   // an event about it is a dead letter
	Follows  Reason = "follows"  // another entity differs, and this row depends on it
	Missed   Reason = "missed"   // an event was not applied
	Changed  Reason = "changed"  // the row was changed by somebody else, or by another version
)

// Explained tells whether the reason is one that is to be expected.
func (r Reason) Explained() bool { return r != Missed && r != Changed }

const whyMoved = "it changed while it was looked at"

const whyChanged = "the row was changed by somebody else, or made by another version of clerksync: clerksync replay --reapply writes it anew"

// explainer finds reasons.
type explainer struct {
	log    *eventlog.Log
	state  eventlog.State  // of the log, before the tables were read
	to     uint64          // what the rebuilt tables have
	parked map[uint64]bool // places of dead letters

	tables, scratch *store.Store
	differ          map[entity]bool   // entities, and seats, of which the heads differ
	claims          map[string]string // addresses that one of them claims here or there, and who it is
}

// note keeps of what differs by itself what others may differ because of: heads, and
// addresses. A row that was only changed by hand moves no other.
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
	switch {
	case live != nil && live.RestoredAt != nil && log != nil && log.Deleted && !live.Deleted:
		return Restored, "restored by hand at " + live.RestoredAt.UTC().Format(time.RFC3339) + ": the log still has the delete", nil
	case live != nil && live.Deleted && (live.ErasedAt != nil || live.Erasing):
		return Erased, "the person was erased: the log has no events about them any more", nil
	}
	order := version(live).Compare(version(log))
	switch {
	case live != nil && (log == nil || order > 0): // the tables know more
		seq := uint64(live.EventSeq)
		if seq > e.to {
			return Moved, whyMoved, nil
		}
		there, err := e.holds(ctx, seq)
		if err != nil {
			return "", "", err
		}
		if !there {
			return Cut, fmt.Sprintf("the event that made it (sequence %d) is not in the log any more: it was older than the log keeps, or was erased", seq), nil
		}
		return Changed, fmt.Sprintf("the log has the event that made it (sequence %d), and it says something else", seq), nil
	case log != nil && (live == nil || order < 0): // the log knows more
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

// explainFollower looks at a row that may differ because of another entity, when it is
// known which ones differ by themselves.
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
				return Follows, fmt.Sprintf("of those who claim the address one holds it, and %s, who claims it too, differs", id), nil
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
	if e.differ[entity{"seat", m.UserID + "/" + m.OrgID}] {
		return Follows, "of several memberships of one user in one organization the latest has a row, and another of them differs", nil
	}
	return Changed, whyChanged, nil
}

// holds tells whether an event is in the log.
func (e *explainer) holds(ctx context.Context, seq uint64) (bool, error) {
	if seq < e.state.First {
		return false, nil
	}
	_, err := e.log.Get(ctx, seq)
	if errors.Is(err, eventlog.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func version(h *db.EntityHead) clerk.Version {
	if h == nil {
		return clerk.Version{}
	}
	return clerk.Version{Deleted: h.Deleted, UpdatedAt: h.UpdatedAt.UnixMilli(), EventAt: h.EventAt.UnixMilli(), EventID: h.EventID}
}
