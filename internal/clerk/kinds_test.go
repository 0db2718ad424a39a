package clerk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

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
