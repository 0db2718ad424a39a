package clerk

import "github.com/google/uuid"

// idNamespace is the namespace of our UUIDs. A change would change every primary key, and
// break the foreign keys of applications.
var idNamespace = uuid.MustParse("6f5b1f0e-3c52-5f0a-9d0b-5b7a4f6f2c11")

// UUID returns the primary key of the row of a Clerk id: a UUIDv5, the same
// after a rebuild of the tables and in every deployment.
func UUID(clerkID string) uuid.UUID {
	return uuid.NewSHA1(idNamespace, []byte(clerkID))
}

// maxToken is the length of the longest id that may become a subject token.
const maxToken = 128

// ValidToken reports whether s may become one token of a NATS subject. Ids are taken from
// payloads: a dot, a space or a wildcard in one would widen the subject.
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
