package store_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// The model says what the rows must be, given a set of events: without an order,
// without a state, each rule a sentence. It reads the events by itself.

// fact is what one event says.
type fact struct {
	kind, id  string // "user", "organization", "organizationMembership"
	deleted   bool
	updatedAt int64
	eventAt   int64
	eventID   string
	data      row

	user, org string // of a membership, "" when the event does not say
	createdAt int64
}

func readFact(e *clerk.Event) fact {
	var body struct {
		Type      string `json:"type"`
		Timestamp int64  `json:"timestamp"`
		Data      row    `json:"data"`
	}
	if err := json.Unmarshal(e.Body, &body); err != nil {
		panic(err)
	}
	f := fact{eventID: e.ID, eventAt: body.Timestamp, data: body.Data, id: body.Data["id"].(string)}
	var action string
	f.kind, action = clerk.SplitType(body.Type)
	f.deleted = action == "deleted"
	if at, ok := body.Data["updated_at"].(float64); ok {
		f.updatedAt = int64(at)
	}
	if at, ok := body.Data["created_at"].(float64); ok {
		f.createdAt = int64(at)
	}
	if o, ok := body.Data["organization"].(row); ok {
		f.org = o["id"].(string)
		f.user = body.Data["public_user_data"].(row)["user_id"].(string)
	}
	return f
}

// newer tells whether f is a newer state of an entity than g: a delete is newer
// than anything else, then the time of the update decides, then that of the event,
// then the event's id.
func (f fact) newer(g fact) bool {
	if f.deleted != g.deleted {
		return f.deleted
	}
	return cmp.Or(cmp.Compare(f.updatedAt, g.updatedAt), cmp.Compare(f.eventAt, g.eventAt), cmp.Compare(f.eventID, g.eventID)) > 0
}

// model is the set of events.
type model []fact

func newModel(events []*clerk.Event) model {
	var m model
	for _, e := range events {
		m = append(m, readFact(e))
	}
	return m
}

// newest is the newest state of an entity; false when no event is about it.
func (m model) newest(kind, id string) (fact, bool) {
	var best fact
	found := false
	for _, f := range m {
		if f.kind == kind && f.id == id && (!found || f.newer(best)) {
			best, found = f, true
		}
	}
	return best, found
}

// live: no event has deleted it.
func (m model) live(kind, id string) bool {
	f, _ := m.newest(kind, id)
	return !f.deleted
}

// named are the ids of a kind that any event names, its own or a membership's.
func (m model) named(kind string) map[string]bool {
	ids := map[string]bool{}
	for _, f := range m {
		if f.kind == kind {
			ids[f.id] = true
		}
		if kind == "user" && f.user != "" {
			ids[f.user] = true
		}
		if kind == "organization" && f.org != "" {
			ids[f.org] = true
		}
	}
	return ids
}

// claim is the address that a live user claims, "" for none.
func (m model) claim(id string) string {
	f, known := m.newest("user", id)
	if !known || f.deleted {
		return ""
	}
	for _, a := range f.data["email_addresses"].([]any) {
		if address := a.(row); address["id"] == f.data["primary_email_address_id"] {
			return address["email_address"].(string)
		}
	}
	return ""
}

// holds: of all live users that claim the address, this one's state is the newest.
func (m model) holds(id, address string) bool {
	mine, _ := m.newest("user", id)
	for other := range m.named("user") {
		if theirs, _ := m.newest("user", other); other != id && m.claim(other) == address && theirs.newer(mine) {
			return false
		}
	}
	return true
}

func (m model) users() map[string]row {
	rows := map[string]row{}
	for id := range m.named("user") {
		r := stubUser(id)
		switch f, known := m.newest("user", id); {
		case !known:
		case f.deleted:
			r["deleted_at"] = f.eventAt
		default:
			r["raw"], r["name"], r["first_name"] = f.data, f.data["first_name"], f.data["first_name"]
			r["created_at"], r["updated_at"] = f.createdAt, f.updatedAt
			if address := m.claim(id); address != "" {
				r["primary_email"], r["email_verified"] = address, true
				if m.holds(id, address) {
					r["email"] = address
				}
			}
		}
		rows[id] = r
	}
	return rows
}

func (m model) organizations() map[string]row {
	rows := map[string]row{}
	for id := range m.named("organization") {
		r := stubOrganization(id)
		switch f, known := m.newest("organization", id); {
		case !known:
		case f.deleted:
			r["deleted_at"] = f.eventAt
		default:
			r["raw"], r["name"], r["slug"] = f.data, f.data["name"], f.data["slug"]
			r["created_at"], r["updated_at"] = f.createdAt, f.updatedAt
		}
		rows[id] = r
	}
	return rows
}

// superseded: some event, be it a delete, names a membership of the same user in
// the same organization that was made later.
func (m model) superseded(f fact) bool {
	for _, g := range m {
		if g.user == f.user && g.org == f.org && g.user != "" &&
			cmp.Or(cmp.Compare(g.createdAt, f.createdAt), cmp.Compare(g.id, f.id)) > 0 {
			return true
		}
	}
	return false
}

func (m model) memberships() map[string]row {
	rows := map[string]row{}
	for id := range m.named("organizationMembership") {
		f, _ := m.newest("organizationMembership", id)
		if f.deleted || !m.live("user", f.user) || !m.live("organization", f.org) || m.superseded(f) {
			continue
		}
		rows[id] = row{
			"id": clerk.UUID(id).String(), "clerk_id": id, "user_id": f.user, "org_id": f.org, "role": f.data["role"],
			"permissions": f.data["permissions"], "public_metadata": row{}, "created_at": f.createdAt, "updated_at": f.updatedAt,
		}
	}
	return rows
}

// again is what every event does when it comes once more.
func (m model) again() []store.Outcome {
	var outcomes []store.Outcome
	for _, f := range m {
		newest, _ := m.newest(f.kind, f.id)
		if newest.eventID == f.eventID {
			outcomes = append(outcomes, store.Duplicate)
		} else {
			outcomes = append(outcomes, store.Stale)
		}
	}
	return outcomes
}

// TestRowsAreThoseOfTheModel: whatever set of events arrived, in whatever order and
// batches and however often, the rows are what the rules say.
func TestRowsAreThoseOfTheModel(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	rapid.Check(t, func(r *rapid.T) {
		events := rapid.OneOf(testkit.Histories(), anything()).Draw(r, "events")
		events = events[:rapid.IntRange(0, len(events)).Draw(r, "arrived")]
		m := newModel(events)
		entries := entriesOf(events)

		empty(t, s)
		arrivals := entries
		for range rapid.IntRange(0, 3).Draw(r, "copies") {
			arrivals = append(arrivals[:len(arrivals):len(arrivals)], arrivals[:len(arrivals)/2]...)
		}
		if len(arrivals) > 0 {
			arrivals = rapid.Permutation(arrivals).Draw(r, "arrivals")
		}
		for len(arrivals) > 0 {
			n := rapid.IntRange(1, len(arrivals)).Draw(r, "batch")
			apply(r, s, arrivals[:n])
			arrivals = arrivals[n:]
		}

		requireModel(r, m, s)
		if len(events) > 0 {
			require.Equal(r, m.again(), apply(r, s, entries), "outcomes when all is applied again")
			requireModel(r, m, s)
		}
	})
}

func requireModel(t require.TestingT, m model, s *store.Store) {
	requireRows(t, "users", m.users(), users(t, s))
	requireRows(t, "organizations", m.organizations(), organizations(t, s))
	requireRows(t, "memberships", m.memberships(), memberships(t, s))
}

func requireRows(t require.TestingT, table string, want, got map[string]row) {
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-model +table):\n%s", table, diff)
		t.FailNow()
	}
}

// anything draws events that need not make a history: updates after deletes, many
// deletes of one entity, memberships without parents, everything within a few
// milliseconds. The user, the organization and the creation of a membership never change.
func anything() *rapid.Generator[[]*clerk.Event] {
	return rapid.Custom(func(t *rapid.T) []*clerk.Event {
		var events []*clerk.Event
		n := rapid.IntRange(1, 25).Draw(t, "number")
		ms := func(label string) int64 { return base + rapid.Int64Range(0, 3).Draw(t, label) }
		for i := range n {
			user := fmt.Sprint("user_", rapid.IntRange(0, 3).Draw(t, "user"))
			org := fmt.Sprint("org_", rapid.IntRange(0, 1).Draw(t, "org"))
			eventType := rapid.SampledFrom([]string{
				"user.created", "user.updated", "user.updated", "user.deleted",
				"organization.updated", "organization.deleted",
				"organizationMembership.created", "organizationMembership.updated", "organizationMembership.deleted",
			}).Draw(t, "type")
			kind, action := clerk.SplitType(eventType)
			var data testkit.Object
			switch {
			case kind == "organizationMembership":
				k := rapid.Int64Range(0, 3).Draw(t, "membership")
				id := fmt.Sprintf("orgmem_%s%s_%d", user, org, 3-k) // so that ids and times do not go together
				data = testkit.MembershipData(id, user, org, rapid.SampledFrom([]string{"admin", "org:member"}).Draw(t, "role"), base+k/2, ms("updated"))
				if action == "deleted" && rapid.Bool().Draw(t, "bare") {
					data = testkit.DeletedData("organization_membership", id)
				}
			case kind == "user" && action == "deleted":
				data = testkit.DeletedData("user", user)
			case kind == "user":
				address := rapid.SampledFrom([]string{"", "a@example.com", "b@example.com"}).Draw(t, "address")
				data = testkit.UserData(user, address, fmt.Sprint("name ", i), base, ms("updated"))
			case action == "deleted":
				data = testkit.DeletedData("organization", org)
			default:
				data = testkit.OrganizationData(org, fmt.Sprint("name ", i), base, ms("updated"))
			}
			id := fmt.Sprintf("msg_%02x%d", rapid.Byte().Draw(t, "id"), i)
			events = append(events, testkit.Event(id, eventType, ms("emitted"), data))
		}
		return events
	})
}
