package testkit

import (
	"fmt"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Base is the start of the timelines of tests, in Unix milliseconds. Second is one second.
const (
	Base   = int64(1767225600000)
	Second = int64(1000)
)

// The events of a timeline are emitted at milliseconds after [Base]; their svix-ids are
// made of that time and the entity.

// UserAt returns an update of a user.
func UserAt(at int64, id string) *clerk.Event {
	return eventAt(at, "user.updated", id, UserData(id, id+"@example.com", "name of "+id, Base, Base+at))
}

// UserDeletedAt returns the delete of a user.
func UserDeletedAt(at int64, id string) *clerk.Event {
	return eventAt(at, "user.deleted", id, DeletedData("user", id))
}

// OrgAt returns an update of an organization.
func OrgAt(at int64, id string) *clerk.Event {
	return eventAt(at, "organization.updated", id, OrganizationData(id, "name of "+id, Base, Base+at))
}

// OrgDeletedAt returns the delete of an organization.
func OrgDeletedAt(at int64, id string) *clerk.Event {
	return eventAt(at, "organization.deleted", id, DeletedData("organization", id))
}

// JoinedAt returns the creation of a membership. Its id names the user and the organization: orgmem_1_2.
func JoinedAt(at int64, id string) *clerk.Event {
	user, org := parentsOf(id)
	return eventAt(at, "organizationMembership.created", id, MembershipData(id, user, org, "org:member", Base+at, Base+at))
}

// LeftAt returns the delete of a membership that was created at joined.
func LeftAt(at int64, id string, joined int64) *clerk.Event {
	user, org := parentsOf(id)
	return eventAt(at, "organizationMembership.deleted", id, MembershipData(id, user, org, "org:member", Base+joined, Base+joined))
}

// LeftBareAt returns a delete that names neither the user nor the organization.
func LeftBareAt(at int64, id string) *clerk.Event {
	return eventAt(at, "organizationMembership.deleted", id, DeletedData("organization_membership", id))
}

func parentsOf(id string) (user, org string) {
	var u, o int
	if _, err := fmt.Sscanf(id, "orgmem_%d_%d", &u, &o); err != nil {
		panic(err)
	}
	return fmt.Sprint("user_", u), fmt.Sprint("org_", o)
}

func eventAt(at int64, eventType, id string, data Object) *clerk.Event {
	return Event(fmt.Sprintf("msg_%s_%d", id, at), eventType, Base+at, data)
}
