package fakeclerk

import (
	"strconv"
	"time"
)

// Event is a webhook that Clerk sends: the svix-id, and the body to sign.
type Event struct {
	ID   string
	Type string
	Body []byte
}

// emit hands out the event of a change at a time.
func (c *Clerk) emit(eventType string, at int64, data []byte) {
	c.o.Emit(c.event(eventType, at, data))
}

// event returns the event with this data, emitted a little after the change.
func (c *Clerk) event(eventType string, at int64, data []byte) Event {
	b := append([]byte(`{"data":`), data...)
	b = append(b, `,"event_attributes":{"http_request":{"client_ip":"192.0.2.10","user_agent":"Mozilla/5.0 (X11; Linux x86_64)"}},"instance_id":`...)
	b = appendString(b, c.o.InstanceID)
	b = append(b, `,"object":"event","timestamp":`...)
	b = strconv.AppendInt(b, at+emissionDelay, 10)
	b = append(b, `,"type":`...)
	b = append(appendString(b, eventType), '}')
	return Event{ID: c.newID("msg_", at), Type: eventType, Body: b}
}

// Present returns an event for everything that exists, except for [Options.Bulk]: as if
// all of it was created just now, though created_at and updated_at say when it was.
func (c *Clerk) Present() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.o.Now().Add(-emissionDelay * time.Millisecond).UnixMilli()
	var all []Event
	for _, u := range c.liveUsers() {
		all = append(all, c.event("user.created", now, appendUser(nil, u, false)))
	}
	for _, o := range c.orgs {
		all = append(all, c.event("organization.created", now, appendOrganization(nil, o, organizationEvent)))
	}
	for _, m := range c.memberships {
		all = append(all, c.event("organizationMembership.created", now, appendMembership(nil, m, false)))
	}
	return all
}
