package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestDeletedUserKeepsIDsAndTimeOnly: whether or not earlier events were seen.
func TestDeletedUserKeepsIDsAndTimeOnly(t *testing.T) {
	t.Parallel()
	want := with(stubUser("user_1"), row{"deleted_at": base + 5})
	for _, events := range [][]*clerk.Event{
		{userDeletedAt(5, "user_1")},
		{userAt(1, "user_1", "a@example.com"), userDeletedAt(5, "user_1")},
		{userAt(1, "user_1", "a@example.com"), userAt(2, "user_1", "b@example.com"), userDeletedAt(5, "user_1")},
	} {
		inEveryOrder(t, events, func(t require.TestingT, s *store.Store) {
			require.Equal(t, want, users(t, s)["user_1"])
		})
	}
}

// TestDeletedOrganizationKeepsIDsAndTimeOnly is the same for organizations.
func TestDeletedOrganizationKeepsIDsAndTimeOnly(t *testing.T) {
	t.Parallel()
	want := with(stubOrganization("org_1"), row{"deleted_at": base + 5})
	inEveryOrder(t, []*clerk.Event{orgAt(1, "org_1"), orgDeletedAt(5, "org_1")}, func(t require.TestingT, s *store.Store) {
		require.Equal(t, want, organizations(t, s)["org_1"])
	})
}

// TestDeletedAreNotInTheActiveViews.
func TestDeletedAreNotInTheActiveViews(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", ""), userAt(1, "user_2", ""), userDeletedAt(2, "user_1"),
		orgAt(1, "org_1"), orgAt(1, "org_2"), orgDeletedAt(2, "org_1"))
	for view, want := range map[string]string{"active_users": "user_2", "active_organizations": "org_2"} {
		found := rowsOf(t, s, "SELECT to_jsonb(v) FROM "+view+" v")
		require.Len(t, found, 1, view)
		require.Contains(t, found, want)
	}
}

// TestLateEventResurrectsNothing: not even one with a later time than the delete.
func TestLateEventResurrectsNothing(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userDeletedAt(5, "user_1"), orgDeletedAt(5, "org_1"), leftAt(5, "orgmem_9", 1))
	before := testkit.Tables(t, s)
	for _, e := range []*clerk.Event{
		userAt(1, "user_1", "a@example.com"), userAt(99, "user_1", "a@example.com"), orgAt(1, "org_1"), orgAt(99, "org_1"),
		testkit.Event("msg_z", "organizationMembership.updated", base+99,
			testkit.MembershipData("orgmem_9", "user_1", "org_1", "org:admin", base+1, base+99)),
	} {
		require.Equal(t, []store.Outcome{store.Stale}, batch(t, s, e), e.ID)
		require.Equal(t, before, testkit.Tables(t, s), e.ID)
	}
}

// TestLateEventTakesNoAddressFromTheLiving: the address of a deleted user is free,
// whatever comes late.
func TestLateEventTakesNoAddressFromTheLiving(t *testing.T) {
	t.Parallel()
	inEveryOrder(t, []*clerk.Event{
		userDeletedAt(5, "user_1"), userAt(99, "user_1", "a@example.com"), userAt(1, "user_2", "a@example.com"),
	}, func(t require.TestingT, s *store.Store) {
		require.Equal(t, map[string]string{"user_2": "a@example.com"}, emailsOf(t, s))
	})
}
