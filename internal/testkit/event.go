package testkit

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Object is a JSON object.
type Object = map[string]any

// Event makes an event as the log holds it. at is the time of emission in Unix
// milliseconds.
func Event(id, eventType string, at int64, data Object) *clerk.Event {
	body, err := json.Marshal(Object{
		"object": "event", "type": eventType, "timestamp": at, "instance_id": "ins_test", "data": data,
	})
	if err != nil {
		panic(err)
	}
	e := &clerk.Event{
		ID: id, Timestamp: "1767225600", Signature: "v1,c2lnbmVk", Origin: clerk.OriginWebhook,
		ReceivedAt: time.UnixMilli(at + 100), Body: body,
	}
	if e.Envelope, err = clerk.ParseEnvelope(body); err != nil {
		panic(err)
	}
	return e
}

// UserData returns the data of a user with one verified address, "" for none.
func UserData(id, email, name string, createdAt, updatedAt int64) Object {
	data := Object{
		"object": "user", "id": id, "first_name": name, "last_name": nil, "external_id": nil, "username": nil,
		"primary_email_address_id": nil, "email_addresses": []any{}, "public_metadata": Object{}, "banned": false,
		"created_at": createdAt, "updated_at": updatedAt, "last_sign_in_at": nil,
	}
	if email != "" {
		data["primary_email_address_id"] = "idn_1"
		data["email_addresses"] = []any{Object{
			"id": "idn_1", "email_address": email, "verification": Object{"status": "verified"},
		}}
	}
	return data
}

// OrganizationData returns the data of an organization.
func OrganizationData(id, name string, createdAt, updatedAt int64) Object {
	return Object{
		"object": "organization", "id": id, "name": name, "slug": "slug", "created_by": "",
		"public_metadata": Object{}, "created_at": createdAt, "updated_at": updatedAt,
	}
}

// MembershipData returns the data of a membership.
func MembershipData(id, user, org, role string, createdAt, updatedAt int64) Object {
	return Object{
		"object": "organization_membership", "id": id, "role": role, "permissions": []string{"org:sys_memberships:read"},
		"public_metadata": Object{}, "organization": Object{"id": org, "name": "embedded " + org},
		"public_user_data": Object{"user_id": user, "first_name": "embedded"},
		"created_at":       createdAt, "updated_at": updatedAt,
	}
}

// DeletedData returns the data of a delete.
func DeletedData(object, id string) Object {
	return Object{"object": object, "id": id, "deleted": true}
}

// Change parses an event of a synced type.
func Change(e *clerk.Event) *clerk.Change {
	c, err := clerk.ParseChange(e)
	if err != nil || c == nil {
		panic(fmt.Sprintf("%s is no change: %v", e.Envelope.Type, err))
	}
	return c
}
