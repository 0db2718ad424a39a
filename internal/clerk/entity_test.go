package clerk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

// TestUUIDIsStable: these were computed with Python's uuid.uuid5, from the
// namespace in entity.go. A change breaks the foreign keys of every application.
func TestUUIDIsStable(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"user_2synth00000000000000000Ada1":   "0c1c9e54-adfb-5de4-b90b-ddfb09693917",
		"org_2synth0000000000000000Acme1":    "f95dc4bb-b537-5741-b356-203b9b2158d6",
		"orgmem_2synth00000000000AdaAtAcme1": "6c372cde-1ee0-596c-ae89-51cc77b48c9f",
	} {
		require.Equal(t, want, clerk.UUID(id).String(), id)
	}
}

func TestKindOfID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]clerk.Kind{
		"user_2synth00000000000000000Ada1":   "user",
		"org_2synth0000000000000000Acme1":    "organization",
		"orgmem_2synth00000000000AdaAtAcme1": "membership",
		"user_a_b":                           "user",
	} {
		kind, ok := clerk.KindOfID(id)
		require.True(t, ok, id)
		require.Equal(t, want, kind, id)
	}
	for _, id := range []string{"", "user", "user_", "_", "_x", "users_1", "orginv_1", "sess_1", "User_1", " user_1"} {
		_, ok := clerk.KindOfID(id)
		require.False(t, ok, id)
	}
}
