package clerk

import (
	"strings"

	"github.com/google/uuid"
)

// Kind names what an entity is. Its values are stored in entity_heads.kind.
type Kind string

// The kinds that are synced.
const (
	KindUser         Kind = "user"
	KindOrganization Kind = "organization"
	KindMembership   Kind = "membership"
)

// resources maps Clerk's name of a resource, the first part of an event's
// type, to the kind of entity it is about.
var resources = map[string]Kind{
	"user":                   KindUser,
	"organization":           KindOrganization,
	"organizationMembership": KindMembership,
}

// ResourceOf is Clerk's name of the resource of a kind, "" when there is none.
func ResourceOf(kind Kind) string {
	for resource, k := range resources {
		if k == kind {
			return resource
		}
	}
	return ""
}

// KindOfType is the kind of entity that events of a type are about, "" when they are
// not synced.
func KindOfType(eventType string) Kind {
	resource, _ := SplitType(eventType)
	return resources[resource]
}

// KindOfID tells the kind of an entity from the prefix of its Clerk id.
func KindOfID(id string) (Kind, bool) {
	prefix, rest, found := strings.Cut(id, "_")
	if !found || rest == "" {
		return "", false
	}
	switch prefix {
	case "user":
		return KindUser, true
	case "org":
		return KindOrganization, true
	case "orgmem":
		return KindMembership, true
	}
	return "", false
}

// idNamespace makes our UUIDs: changing it would change every primary key, and
// with it break the foreign keys of the applications that refer to them.
var idNamespace = uuid.MustParse("6f5b1f0e-3c52-5f0a-9d0b-5b7a4f6f2c11")

// UUID is the primary key of the row of a Clerk id: a UUIDv5, so that it is the
// same after a rebuild of the tables, in every deployment.
func UUID(clerkID string) uuid.UUID {
	return uuid.NewSHA1(idNamespace, []byte(clerkID))
}

// maxToken is the longest id that may become part of a subject.
const maxToken = 128

// ValidToken reports whether s may become one token of a NATS subject. An id
// comes from a payload: with a dot, a space or a wildcard in it, it would widen
// the subject it is put into.
func ValidToken(s string) bool {
	if len(s) == 0 || len(s) > maxToken {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
