package clerk

import "github.com/google/uuid"

// idNamespace makes our UUIDs: changing it would change every primary key, and
// with it break the foreign keys of the applications that refer to them.
var idNamespace = uuid.MustParse("6f5b1f0e-3c52-5f0a-9d0b-5b7a4f6f2c11")

// UUID returns the primary key of the row of a Clerk id: a UUIDv5, so that it is the
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
