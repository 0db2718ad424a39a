package clerk

import (
	"strconv"
	"time"
)

// Deletion is an entity that Clerk no longer has. UserID and OrgID are those of a
// membership. The ids must be valid tokens.
type Deletion struct {
	Kind          Kind
	ID            string
	UserID, OrgID string
	InstanceID    string
	SeenAt        time.Time // when Clerk did not have it
}

// Event returns a delete as Clerk would have sent it, under an id of its own. Like every
// delete, it wins by being one.
func (d Deletion) Event(origin Origin) *Event {
	entity, at := ofKind(d.Kind), d.SeenAt.UnixMilli()
	var ids parents
	ids.Organization.id, ids.PublicUserData.id = d.OrgID, d.UserID
	e := Envelope{Type: entity.resource + ".deleted", EventAt: at, InstanceID: d.InstanceID, EntityID: d.ID}
	entity.parents(&e, &ids)

	body := []byte(`{"type":"` + e.Type + `","object":"event"`)
	if d.InstanceID != "" {
		body = append(body, `,"instance_id":"`+d.InstanceID+`"`...)
	}
	body = append(body, `,"timestamp":`...)
	body = strconv.AppendInt(body, at, 10)
	body = append(body, `,"data":{"id":"`+d.ID+`","deleted":true`...)
	if d.Kind == KindMembership {
		body = append(body, `,"organization":{"id":"`+d.OrgID+`"},"public_user_data":{"user_id":"`+d.UserID+`"}`...)
	}
	return &Event{
		ID:     "api_" + d.ID + "_deleted_" + strconv.FormatInt(at, 10),
		Origin: origin, ReceivedAt: d.SeenAt, Body: append(body, "}}"...), Envelope: e,
	}
}
