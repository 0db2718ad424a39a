package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

const (
	addressA = "a@example.com"
	addressB = "b@example.com"
)

// TestTwoUsersSwapAddresses in one batch, in two, and when the change that takes an
// address overtakes the one that frees it.
func TestTwoUsersSwapAddresses(t *testing.T) {
	t.Parallel()
	before := []*clerk.Event{userAt(1, "user_1", addressA), userAt(1, "user_2", addressB)}
	swap := []*clerk.Event{userAt(2, "user_1", addressB), userAt(3, "user_2", addressA)}
	want := map[string]string{"user_1": addressB, "user_2": addressA}

	s := testkit.Store(t)
	batch(t, s, before...)
	batch(t, s, swap...)
	require.Equal(t, want, emailsOf(t, s), "in one batch")

	inEveryOrder(t, append(before, swap...), func(t require.TestingT, s *store.Store) {
		require.Equal(t, want, emailsOf(t, s))
	})
}

// TestHolderLeavesNextClaimantGetsIt: three users claim one address; it is passed on
// in the order of their versions, whatever makes the holder lose it.
func TestHolderLeavesNextClaimantGetsIt(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	step := func(want string, events ...*clerk.Event) {
		t.Helper()
		batch(t, s, events...)
		if want == "" {
			require.Empty(t, emailsOf(t, s))
			return
		}
		require.Equal(t, map[string]string{want: addressA}, emailsOf(t, s))
	}
	step("user_3", userAt(1, "user_1", addressA), userAt(2, "user_2", addressA), userAt(3, "user_3", addressA))
	for _, id := range []string{"user_1", "user_2", "user_3"} {
		require.Equal(t, addressA, users(t, s)[id]["primary_email"], "everybody keeps the claim")
	}
	step("user_2", userAt(10, "user_3", "")) // gives it up
	step("user_1", userDeletedAt(11, "user_2"))
	step("user_3", userAt(12, "user_3", addressA)) // takes it again
	step("user_3", userAt(11, "user_3", ""))       // stale
	step("user_1", userAt(13, "user_1", addressA))
	step("user_3", userDeletedAt(14, "user_1"))
	step("", userDeletedAt(15, "user_3"))
}

// TestHolderOfOneAddressIsTheSameInEveryOrder.
func TestHolderOfOneAddressIsTheSameInEveryOrder(t *testing.T) {
	t.Parallel()
	inEveryOrder(t, []*clerk.Event{
		userAt(1, "user_1", addressA), userAt(2, "user_2", addressA), userAt(3, "user_3", addressA), userDeletedAt(0, "user_3"),
	}, func(t require.TestingT, s *store.Store) {
		require.Equal(t, map[string]string{"user_2": addressA}, emailsOf(t, s))
	})
}

// TestUnverifiedAddressCollides like any other, and is no error.
func TestUnverifiedAddressCollides(t *testing.T) {
	t.Parallel()
	data := testkit.UserData("user_2", addressA, "n", base, base+2)
	data["email_addresses"].([]any)[0].(testkit.Object)["verification"] = nil
	unverified := testkit.Event("msg_2", "user.updated", base+2, data)
	inEveryOrder(t, []*clerk.Event{userAt(1, "user_1", addressA), unverified}, func(t require.TestingT, s *store.Store) {
		require.Equal(t, map[string]string{"user_2": addressA}, emailsOf(t, s))
		all := users(t, s)
		require.Equal(t, true, all["user_1"]["email_verified"])
		require.Equal(t, false, all["user_2"]["email_verified"])
		require.Equal(t, addressA, all["user_1"]["primary_email"])
	})
}

// TestUsersByEmail names the holder first.
func TestUsersByEmail(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", addressA), userAt(3, "user_3", addressA), userAt(2, "user_2", addressA), userAt(9, "user_4", addressB))
	ids, err := s.UsersByEmail(t.Context(), addressA)
	require.NoError(t, err)
	require.Equal(t, []string{"user_3", "user_1", "user_2"}, ids)
	ids, err = s.UsersByEmail(t.Context(), "nobody@example.com")
	require.NoError(t, err)
	require.Empty(t, ids)
}
