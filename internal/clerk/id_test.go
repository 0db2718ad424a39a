package clerk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

// TestUUIDIsStable: these were computed with Python's uuid.uuid5, from the
// namespace in id.go. A change breaks the foreign keys of every application.
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
