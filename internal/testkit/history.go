package testkit

import (
	"fmt"
	"regexp"

	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Histories draws events that a Clerk instance could emit, in the order of emission:
// sign-ups, joins, leaves, re-joins, traded addresses, deletes with and without the
// events of their cascade, and many in one millisecond.
//
// The world is small, so that a short history has collisions in it.
func Histories() *rapid.Generator[[]*clerk.Event] {
	return rapid.Custom(func(t *rapid.T) []*clerk.Event {
		w := &world{t: t, now: 1767225600000, live: map[string]*membership{}}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.step()
		}
		return w.events
	})
}

// ManyHistories returns the events of n histories of at least 25 events each. Each has
// its own users; e-mail addresses are shared.
func ManyHistories(n int) []*clerk.Event {
	ids := regexp.MustCompile(`"(user|org|orgmem)_([0-9]+)"`)
	var all []*clerk.Event
	for seed := 0; n > 0; seed++ {
		history := Histories().Example(seed)
		if len(history) < 25 {
			continue
		}
		n--
		for _, e := range history {
			c := *e
			c.ID = fmt.Sprintf("%s_%d", e.ID, seed)
			c.Body = ids.ReplaceAll(e.Body, fmt.Appendf(nil, `"${1}_%dx${2}"`, seed))
			var err error
			if c.Envelope, err = clerk.ParseEnvelope(c.Body); err != nil {
				panic(err)
			}
			all = append(all, &c)
		}
	}
	return all
}

type user struct {
	id, email string
	created   int64
	deleted   bool
}

type org struct {
	id      string
	created int64
	deleted bool
}

type membership struct {
	id, role  string
	user, org string
	created   int64
}

type world struct {
	t       *rapid.T
	now     int64
	users   []*user
	orgs    []*org
	live    map[string]*membership // by user and organization
	members int
	events  []*clerk.Event
}

var addresses = []string{"", "a@example.com", "b@example.com", "c@example.com"}

// emit appends an event. Its id is drawn too: ids do not order events.
func (w *world) emit(eventType string, data Object) {
	id := fmt.Sprintf("msg_%02x%d", rapid.Byte().Draw(w.t, "id"), len(w.events))
	w.events = append(w.events, Event(id, eventType, w.now+rapid.Int64Range(0, 2).Draw(w.t, "emitted"), data))
}

func (w *world) step() {
	w.now += rapid.Int64Range(0, 2).Draw(w.t, "ms")
	switch rapid.IntRange(0, 11).Draw(w.t, "what") {
	case 0, 1:
		u := &user{id: fmt.Sprintf("user_%d", len(w.users)), email: w.address(), created: w.now}
		w.users = append(w.users, u)
		w.emitUser("user.created", u)
	case 2:
		o := &org{id: fmt.Sprintf("org_%d", len(w.orgs)), created: w.now}
		w.orgs = append(w.orgs, o)
		w.emitOrg("organization.created", o)
		if u := w.user(); u != nil {
			w.join(u, o)
		}
	case 3, 4:
		if u := w.user(); u != nil {
			u.email = w.address()
			w.emitUser("user.updated", u)
		}
	case 5: // two users trade their addresses, the one freed first
		if a, b := w.user(), w.user(); a != nil && a != b {
			first, second := a.email, b.email
			a.email = ""
			w.emitUser("user.updated", a)
			b.email = first
			w.emitUser("user.updated", b)
			a.email = second
			w.emitUser("user.updated", a)
		}
	case 6:
		if o := w.org(); o != nil {
			w.emitOrg("organization.updated", o)
		}
	case 7, 8:
		if u, o := w.user(), w.org(); u != nil && o != nil {
			w.join(u, o)
		}
	case 9: // leave, and perhaps come back at once
		if m := w.membership(); m != nil {
			w.leave(m, true)
			if rapid.Bool().Draw(w.t, "rejoin") {
				w.joinIDs(m.user, m.org)
			}
		}
	case 10:
		if m := w.membership(); m != nil {
			m.role = rapid.SampledFrom([]string{"org:admin", "org:member", "admin"}).Draw(w.t, "role")
			w.emit("organizationMembership.updated", MembershipData(m.id, m.user, m.org, m.role, m.created, w.now))
		}
	case 11:
		// Clerk does not document whether it emits the events of a cascade.
		cascade := rapid.Bool().Draw(w.t, "cascade")
		if rapid.Bool().Draw(w.t, "user") {
			if u := w.user(); u != nil {
				u.deleted = true
				w.emit("user.deleted", DeletedData("user", u.id))
				w.removeAll(func(m *membership) bool { return m.user == u.id }, cascade)
			}
		} else if o := w.org(); o != nil {
			o.deleted = true
			w.emit("organization.deleted", DeletedData("organization", o.id))
			w.removeAll(func(m *membership) bool { return m.org == o.id }, cascade)
		}
	}
}

func (w *world) address() string { return rapid.SampledFrom(addresses).Draw(w.t, "address") }

func (w *world) emitUser(eventType string, u *user) {
	name := fmt.Sprintf("name %d", len(w.events))
	w.emit(eventType, UserData(u.id, u.email, name, u.created, w.now))
}

func (w *world) emitOrg(eventType string, o *org) {
	w.emit(eventType, OrganizationData(o.id, fmt.Sprintf("name %d", len(w.events)), o.created, w.now))
}

// user draws a user that is not deleted, nil if there is none.
func (w *world) user() *user {
	return pick(w.t, w.users, func(u *user) bool { return !u.deleted })
}

func (w *world) org() *org {
	return pick(w.t, w.orgs, func(o *org) bool { return !o.deleted })
}

func (w *world) membership() *membership {
	var all []*membership
	for _, u := range w.users { // not the order of the map, which is random
		for _, o := range w.orgs {
			if m := w.live[u.id+o.id]; m != nil {
				all = append(all, m)
			}
		}
	}
	return pick(w.t, all, func(*membership) bool { return true })
}

func pick[T any](t *rapid.T, all []*T, ok func(*T) bool) *T {
	var candidates []*T
	for _, x := range all {
		if ok(x) {
			candidates = append(candidates, x)
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	return candidates[rapid.IntRange(0, len(candidates)-1).Draw(t, "which")]
}

func (w *world) join(u *user, o *org) { w.joinIDs(u.id, o.id) }

func (w *world) joinIDs(user, org string) {
	if w.live[user+org] != nil {
		return
	}
	if w.members > 0 {
		w.now++ // a second membership of the same two is not created in the same millisecond
	}
	m := &membership{id: fmt.Sprintf("orgmem_%d", w.members), user: user, org: org, role: "org:member", created: w.now}
	w.members++
	w.live[user+org] = m
	w.emit("organizationMembership.created", MembershipData(m.id, user, org, m.role, m.created, w.now))
}

func (w *world) leave(m *membership, emit bool) {
	delete(w.live, m.user+m.org)
	if !emit {
		return
	}
	if rapid.IntRange(0, 4).Draw(w.t, "bare") == 0 {
		w.emit("organizationMembership.deleted", DeletedData("organization_membership", m.id))
		return
	}
	// Nor does it document whether a delete bumps updated_at.
	updated := rapid.SampledFrom([]int64{m.created, w.now}).Draw(w.t, "updated")
	w.emit("organizationMembership.deleted", MembershipData(m.id, m.user, m.org, m.role, m.created, updated))
}

func (w *world) removeAll(of func(*membership) bool, emit bool) {
	for _, u := range w.users {
		for _, o := range w.orgs {
			if m := w.live[u.id+o.id]; m != nil && of(m) {
				w.leave(m, emit)
			}
		}
	}
}
