package store_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestReadRow keeps the order of the columns and writes times in UTC.
func TestReadRow(t *testing.T) {
	t.Parallel()
	r, err := store.ReadRow([]byte(`{"z": "<a>", "a_at": "2026-01-12T10:00:00.5+02:00", "b_at":null, "c_at": "soon",
		"m": {"x_at": "2026-01-12T10:00:00+02:00", "y": [1, 2]}, "tru\"e": true}`))
	require.NoError(t, err)
	object, err := r.MarshalJSON()
	require.NoError(t, err)
	require.Equal(t, `{"z":"<a>","a_at":"2026-01-12T08:00:00.5Z","b_at":null,"c_at":"soon",`+
		`"m":{"x_at":"2026-01-12T10:00:00+02:00","y":[1,2]},"tru\"e":true}`, string(object))
	object, err = json.Marshal(store.Row(nil))
	require.NoError(t, err)
	require.Equal(t, "null", string(object))
	for _, broken := range []string{"", "{", `{"a":}`, `{"a":1`} {
		_, err := store.ReadRow([]byte(broken))
		require.Error(t, err, broken)
	}
}

// TestShow reads one entity: row and head.
func TestShow(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	shown, err := s.Show(t.Context(), clerk.KindUser, "user_1")
	require.NoError(t, err)
	require.Nil(t, shown.Head)
	require.Nil(t, shown.Row)
	batch(t, s, joinedAt(1, "orgmem_1"), joinedAt(2, "orgmem_2"), leftAt(3, "orgmem_2", 2), joinedAt(4, "orgmem_3"))
	for id, want := range map[string]string{
		"user_1":   `^{"id":"616d2a86-2811-5081-a54f-312e6246e043","clerk_id":"user_1",.*,"raw":null,"created_at":null,`,
		"org_1":    `^{"id":"7e24f05e-c4c8-5667-b9d8-d2a1f3fc7401","clerk_id":"org_1",.*,"raw":null,"created_at":null,`,
		"orgmem_2": `^null$`,
		"orgmem_3": `^{"id":"[0-9a-f-]+","clerk_id":"orgmem_3",.*,"permissions":\["org:sys_memberships:read"\],.*,` +
			`"updated_at":"2026-01-01T00:00:00\.004Z","user_clerk_id":"user_1"}$`,
	} {
		kind, _ := clerk.KindOfID(id)
		shown, err := s.Show(t.Context(), kind, id)
		require.NoError(t, err)
		require.Equal(t, id, shown.Head.ClerkID)
		object, err := json.Marshal(shown.Row)
		require.NoError(t, err)
		require.Regexp(t, want, string(object))
	}
}

// TestLookups find nothing without an error.
func TestLookups(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	batch(t, s, userAt(1, "user_1", addressA), userAt(2, "user_2", ""), joinedAt(1, "orgmem_1"))
	for id, want := range map[string]string{"user_1": addressA, "user_2": "", "user_3": ""} {
		address, err := s.EmailClaimedBy(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, want, address, id)
	}
	m, err := s.Membership(t.Context(), "orgmem_1")
	require.NoError(t, err)
	require.Equal(t, []string{"user_1", "org_1"}, []string{m.UserID, m.OrgID})
	m, err = s.Membership(t.Context(), "orgmem_2")
	require.NoError(t, err)
	require.Nil(t, m)
}
