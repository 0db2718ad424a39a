package clerk

import "strings"

// Kind names what an entity is. Its values are stored in entity_heads.kind.
type Kind string

// The synced kinds.
const (
	KindUser         Kind = "user"
	KindOrganization Kind = "organization"
	KindMembership   Kind = "membership"
)

// synced describes a synced kind.
type synced struct {
	kind     Kind
	resource string // Clerk's name: the first part of an event's type
	prefix   string // of its Clerk ids

	parents     func(*Envelope, *parents) // sets UserID and OrgID
	data        func() entity             // reads the data of an event
	deletedData func() entity             // reads the data of a delete
}

// kinds lists the synced kinds. The list of their tables in package store must agree; the
// actions of a new kind are added in change.go, and its name to the CHECK on
// entity_heads.kind.
var kinds = []synced{
	{KindUser, "user", "user", ofUser, read[userData], read[deletedData]},
	{KindOrganization, "organization", "org", ofOrganization, read[organizationData], read[deletedData]},
	{KindMembership, "organizationMembership", "orgmem", ofMembership, read[membershipData], read[membershipData]},
}

// read returns an empty T.
func read[T any, P interface {
	*T
	entity
}]() entity {
	return P(new(T))
}

// find returns the first kind that matches, nil when none does.
func find(is func(*synced) bool) *synced {
	for i := range kinds {
		if is(&kinds[i]) {
			return &kinds[i]
		}
	}
	return nil
}

func ofResource(resource string) *synced {
	return find(func(s *synced) bool { return s.resource == resource })
}

func ofKind(kind Kind) *synced {
	return find(func(s *synced) bool { return s.kind == kind })
}

// Kinds returns the synced kinds.
func Kinds() []Kind {
	all := make([]Kind, len(kinds))
	for i, s := range kinds {
		all[i] = s.kind
	}
	return all
}

// SyncedTypes returns globs for the types of events that are synced.
func SyncedTypes() []string {
	globs := make([]string, len(kinds))
	for i, s := range kinds {
		globs[i] = s.resource + ".*"
	}
	return globs
}

// ResourceOf returns Clerk's name of the resource of a kind, "" when there is none.
func ResourceOf(kind Kind) string {
	if s := ofKind(kind); s != nil {
		return s.resource
	}
	return ""
}

// KindOfType returns the kind of entity that events of a type are about, "" when they
// are not synced.
func KindOfType(eventType string) Kind {
	resource, _ := SplitType(eventType)
	if s := ofResource(resource); s != nil {
		return s.kind
	}
	return ""
}

// KindOfID returns the kind of entity that the prefix of a Clerk id stands for.
func KindOfID(id string) (Kind, bool) {
	prefix, rest, _ := strings.Cut(id, "_")
	if s := find(func(s *synced) bool { return s.prefix == prefix }); s != nil && rest != "" {
		return s.kind, true
	}
	return "", false
}
