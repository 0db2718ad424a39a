package erasure_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestLettersOfAPerson are those under their id, and those that could not be decoded and
// that have the id, or an address that is known by then, in them.
func TestLettersOfAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := testkit.Event("msg_0", "user.created", testkit.Base, testkit.UserData("user_1", "a@example.com", "", testkit.Base, testkit.Base))
	for _, e := range []*clerk.Event{
		testkit.Event("msg_1", "user.created", testkit.Base, testkit.UserData("user_1", "a@example.com", "", testkit.Base, testkit.Base)),
		testkit.Event("msg_2", "user.created", testkit.Base, testkit.UserData("user_2", "b@example.com", "", testkit.Base, testkit.Base)),
		testkit.Event("msg_3", "organizationMembership.created", testkit.Base, testkit.MembershipData("orgmem_1", "user_1", "org_1", "r", testkit.Base, testkit.Base)),
		unreadable("msg_4", `{"data":{"id":"user_1","id":"user_1"}}`),
		unreadable("msg_5", "{\x00 not JSON for a@example.com"),
		unreadable("msg_6", `{"data":{"id":"user_2","id":"user_2"}}`),
		testkit.Event("msg_7", "organization.created", testkit.Base, testkit.Object{"id": "org_1", "created_by": "user_1"}),
	} {
		require.NoError(t, w.Log.Park(t.Context(), e, eventlog.Death{Reason: "refused", Err: errors.New("refused"), Attempts: 1}))
	}
	letters := func() []uint64 {
		p, err := w.eraser().Find(t.Context(), "user_1")
		require.NoError(t, err)
		var got []uint64
		for _, m := range p.Letters {
			got = append(got, m.Seq)
		}
		return got
	}
	require.Equal(t, []uint64{1, 3, 4}, letters())
	w.Emit(user) // from here on the address is known
	require.Equal(t, []uint64{1, 3, 4, 5}, letters())
	_, err := w.eraser().Find(t.Context(), "user_*")
	require.EqualError(t, err, `user is not a Clerk id of the form user_…`)
}
