package fakeclerk

import "strconv"

// Event is a webhook that Clerk sends: the svix-id, and the body to sign.
type Event struct {
	ID   string
	Type string
	Body []byte
}

// emit hands out the event of a change at a time, emitted a little later.
func (c *Clerk) emit(eventType string, at int64, data []byte) {
	b := append([]byte(`{"data":`), data...)
	b = append(b, `,"event_attributes":{"http_request":{"client_ip":"192.0.2.10","user_agent":"Mozilla/5.0 (X11; Linux x86_64)"}},"instance_id":`...)
	b = appendString(b, c.o.InstanceID)
	b = append(b, `,"object":"event","timestamp":`...)
	b = strconv.AppendInt(b, at+emissionDelay, 10)
	b = append(b, `,"type":`...)
	b = append(appendString(b, eventType), '}')
	c.o.Emit(Event{ID: c.newID("msg_", at), Type: eventType, Body: b})
}
