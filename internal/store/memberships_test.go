package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestMembershipDeletedByItsBareID: a delete that does not say whom it bound.
func TestMembershipDeletedByItsBareID(t *testing.T) {
	t.Parallel()
	inEveryOrder(t, []*clerk.Event{userAt(0, "user_1", ""), joinedAt(1, "orgmem_1"), leftBareAt(2, "orgmem_1")},
		func(t require.TestingT, s *store.Store) {
			require.Empty(t, members(t, s))
		})
}

// TestRejoinSurvivesTheLateDeleteOfTheOldMembership.
func TestRejoinSurvivesTheLateDeleteOfTheOldMembership(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]*clerk.Event{"whole": leftAt(2, "orgmem_old", 1), "bare": leftBareAt(2, "orgmem_old")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inEveryOrder(t, []*clerk.Event{joinedAt(1, "orgmem_old"), left, joinedAt(3, "orgmem_new")},
				func(t require.TestingT, s *store.Store) {
					require.Equal(t, []string{"orgmem_new"}, members(t, s))
				})
		})
	}
}

// TestRejoinHoldsTheRowThoughTheOldDeleteNeverCame: of two live memberships the one
// that was made later holds the row.
func TestRejoinHoldsTheRowThoughTheOldDeleteNeverCame(t *testing.T) {
	t.Parallel()
	inEveryOrder(t, []*clerk.Event{joinedAt(1, "orgmem_z"), joinedAt(3, "orgmem_a")}, func(t require.TestingT, s *store.Store) {
		require.Equal(t, []string{"orgmem_a"}, members(t, s))
	})
}

// TestRejoinsOfOneMillisecondAreDecidedByTheID.
func TestRejoinsOfOneMillisecondAreDecidedByTheID(t *testing.T) {
	t.Parallel()
	inEveryOrder(t, []*clerk.Event{joinedAt(1, "orgmem_a"), joinedAt(1, "orgmem_c"), joinedAt(1, "orgmem_b")},
		func(t require.TestingT, s *store.Store) {
			require.Equal(t, []string{"orgmem_c"}, members(t, s))
		})
}

// TestOlderMembershipDoesNotComeBack: the user left, came back, and left again; of
// the second membership only the delete is ever seen, of the first only the join.
func TestOlderMembershipDoesNotComeBack(t *testing.T) {
	t.Parallel()
	inEveryOrder(t, []*clerk.Event{leftAt(4, "orgmem_new", 3), joinedAt(1, "orgmem_old")}, func(t require.TestingT, s *store.Store) {
		require.Empty(t, members(t, s))
	})
	inEveryOrder(t, []*clerk.Event{joinedAt(3, "orgmem_new"), leftBareAt(4, "orgmem_new"), joinedAt(1, "orgmem_old")},
		func(t require.TestingT, s *store.Store) {
			require.Empty(t, members(t, s))
		})
}

// TestUpdateOfAnOldMembershipDoesNotTakeTheRow: not even a later one.
func TestUpdateOfAnOldMembershipDoesNotTakeTheRow(t *testing.T) {
	t.Parallel()
	update := testkit.Event("msg_late", "organizationMembership.updated", base+9,
		testkit.MembershipData("orgmem_old", "user_1", "org_1", "org:admin", base+1, base+9))
	inEveryOrder(t, []*clerk.Event{joinedAt(1, "orgmem_old"), joinedAt(3, "orgmem_new"), update},
		func(t require.TestingT, s *store.Store) {
			require.Equal(t, []string{"orgmem_new"}, members(t, s))
			require.Equal(t, "org:member", memberships(t, s)["orgmem_new"]["role"])
		})
}

// TestMembershipsGoWithTheirUser: at once, whatever Clerk sends or does not send of
// them, and a late event of one makes no row.
func TestMembershipsGoWithTheirUser(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(0, "user_1", ""), orgAt(0, "org_1"), joinedAt(1, "orgmem_1"))
	require.Equal(t, []string{"orgmem_1"}, members(t, s))
	batch(t, s, userDeletedAt(2, "user_1"))
	require.Empty(t, members(t, s))
	require.Equal(t, []store.Outcome{store.Applied}, batch(t, s, joinedAt(9, "orgmem_late")))
	require.Empty(t, members(t, s))

	inEveryOrder(t, []*clerk.Event{userDeletedAt(2, "user_1"), joinedAt(1, "orgmem_1"), orgAt(0, "org_1"), joinedAt(9, "orgmem_late")},
		func(t require.TestingT, s *store.Store) {
			require.Empty(t, members(t, s))
		})
}

// TestMembershipsGoWithTheirOrganization, and only with it.
func TestMembershipsGoWithTheirOrganization(t *testing.T) {
	t.Parallel()
	elsewhere := testkit.Event("msg_else", "organizationMembership.created", base+1,
		testkit.MembershipData("orgmem_2", "user_1", "org_2", "org:member", base+1, base+1))
	inEveryOrder(t, []*clerk.Event{orgDeletedAt(2, "org_1"), joinedAt(1, "orgmem_1"), elsewhere},
		func(t require.TestingT, s *store.Store) {
			require.Equal(t, []string{"orgmem_2"}, members(t, s))
		})
}

// TestStubShowsIDsOnly: of the parents that a membership embeds nothing is taken
// but the ids, and the real event replaces the stub.
func TestStubShowsIDsOnly(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, joinedAt(1, "orgmem_1"))
	require.Equal(t, map[string]row{"user_1": stubUser("user_1")}, users(t, s))
	require.Equal(t, map[string]row{"org_1": stubOrganization("org_1")}, organizations(t, s))
	require.Equal(t, []string{"orgmem_1"}, members(t, s))

	require.Equal(t, []store.Outcome{store.Applied, store.Applied}, batch(t, s, userAt(0, "user_1", "a@example.com"), orgAt(0, "org_1")))
	require.Equal(t, "a@example.com", users(t, s)["user_1"]["email"])
	require.Equal(t, "name 0", users(t, s)["user_1"]["name"])
	require.Equal(t, "name 0", organizations(t, s)["org_1"]["name"])

	batch(t, s, joinedAt(8, "orgmem_2")) // makes no stub of it again
	require.Equal(t, "name 0", users(t, s)["user_1"]["name"])
	require.Equal(t, "name 0", organizations(t, s)["org_1"]["name"])
}

// TestPermissionsAreAnArray: as Clerk sent them, empty when it sent none.
func TestPermissionsAreAnArray(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	for i, permissions := range []any{[]any{"org:a:read", `org:"b":{write}`}, []any{}, nil} {
		data := testkit.MembershipData("orgmem_1", "user_1", "org_1", "org:member", base, base+int64(i))
		data["permissions"] = permissions
		batch(t, s, testkit.Event(msg(i), "organizationMembership.updated", base+int64(i), data))
		want := permissions
		if want == nil {
			want = []any{}
		}
		require.Equal(t, want, memberships(t, s)["orgmem_1"]["permissions"])
	}
}

// TestRejoinWithoutASeat: the row of the former membership goes, though nothing tells its seat.
func TestRejoinWithoutASeat(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", ""), orgAt(1, "org_1"), joinedAt(1, "orgmem_1"))
	edit(t, s, "DELETE FROM seats")
	batch(t, s, joinedAt(5, "orgmem_2"))
	require.Equal(t, []string{"orgmem_2"}, members(t, s))
}
