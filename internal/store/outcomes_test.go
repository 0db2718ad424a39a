package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestOutcomes tells what each event of a batch did.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	const applied, stale, duplicate = store.Applied, store.Stale, store.Duplicate
	s := testkit.Store(t)
	u1, u2, u3 := userAt(1, "user_1", ""), userAt(2, "user_1", ""), userAt(3, "user_1", "")

	require.Equal(t, []store.Outcome{applied}, batch(t, s, u1))
	require.Equal(t, []store.Outcome{duplicate}, batch(t, s, u1), "the same again")
	require.Equal(t, []store.Outcome{stale, applied, duplicate, stale}, batch(t, s, u2, u3, u3, u1), "within one batch")
	require.Equal(t, []store.Outcome{stale, duplicate, stale, duplicate}, batch(t, s, u2, u3, u1, u3), "all of it again")
	require.Equal(t, []store.Outcome{applied, stale}, batch(t, s, userDeletedAt(0, "user_1"), userAt(9, "user_1", "")))
	require.Equal(t, []store.Outcome{duplicate}, batch(t, s, userDeletedAt(0, "user_1")))

	// A stub is no event: what replaces it is applied, and a membership that makes one
	// is judged by its own version.
	require.Equal(t, []store.Outcome{applied}, batch(t, s, joinedAt(1, "orgmem_1")))
	require.Equal(t, []store.Outcome{applied, duplicate}, batch(t, s, orgAt(0, "org_1"), joinedAt(1, "orgmem_1")))
	require.Empty(t, members(t, s), "the user is deleted")

	none, err := s.Apply(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

// TestSameMillisecond: a tie is decided by the time of the event, and then by its
// id, in every order of arrival.
func TestSameMillisecond(t *testing.T) {
	t.Parallel()
	named := func(id string, emitted int64, name string) *clerk.Event {
		return testkit.Event(id, "user.updated", base+emitted, testkit.UserData("user_1", "", name, base, base+5))
	}
	inEveryOrder(t, []*clerk.Event{
		named("msg_z", 6, "earlier"), named("msg_b", 7, "greater id"), named("msg_a", 7, "lesser id"),
	}, func(t require.TestingT, s *store.Store) {
		require.Equal(t, "greater id", users(t, s)["user_1"]["name"])
	})
	// By bytes, as Go compares them, and not as a language sorts them.
	inEveryOrder(t, []*clerk.Event{named("msg_Z", 6, "upper"), named("msg_a", 6, "lower"), named("msg_B", 6, "upper")},
		func(t require.TestingT, s *store.Store) {
			require.Equal(t, "lower", users(t, s)["user_1"]["name"])
		})
}

// TestPrimaryKeysSurviveARebuild: they are made from the Clerk id alone.
func TestPrimaryKeysSurviveARebuild(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", ""), orgAt(1, "org_1"), joinedAt(1, "orgmem_1"))
	require.Equal(t, "616d2a86-2811-5081-a54f-312e6246e043", users(t, s)["user_1"]["id"])
	require.Equal(t, "7e24f05e-c4c8-5667-b9d8-d2a1f3fc7401", organizations(t, s)["org_1"]["id"])
	require.Equal(t, "5500092b-cc91-5af3-bb80-336da1b316cf", memberships(t, s)["orgmem_1"]["id"])
}
