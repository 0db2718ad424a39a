package clerk_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

func snapshot(t *testing.T, kind clerk.Kind, data string) (*clerk.Snapshot, error) {
	t.Helper()
	return clerk.NewSnapshot(kind, []byte(data), "ins_1", clerk.OriginBackfill, time.UnixMilli(1768208500000))
}

// TestSnapshotKeepsTheData byte for byte, and its events have one subject with the
// webhooks of the same entity but for the action.
func TestSnapshotKeepsTheData(t *testing.T) {
	t.Parallel()
	const membership = `{ "id":"orgmem_1", "unknown" : [1.0, "\u00e9\/"], "role":"org:admin","organization":{"id":"org_1"},` +
		`"public_user_data":{"user_id":"user_1"},"created_at":1768208400001,"updated_at":1768208400002}`
	s, err := snapshot(t, clerk.KindMembership, membership)
	require.NoError(t, err)
	require.Equal(t, `{"type":"organizationMembership.snapshot","object":"event","instance_id":"ins_1","timestamp":1768208400002,"data":`+membership+`}`, string(s.Event.Body))
	require.Equal(t, "clerk.events.organizationMembership.snapshot.orgmem_1.org_1.user_1", s.Event.Envelope.Subject("clerk.events"))
	require.Equal(t, "api_orgmem_1_1768208400002", s.Event.ID)
	require.EqualValues(t, 1768208400001, s.CreatedAt)
	require.EqualValues(t, -1, s.Members)

	parsed, err := clerk.ParseEnvelope(s.Event.Body)
	require.NoError(t, err)
	require.Equal(t, parsed, s.Event.Envelope)
	c, err := clerk.ParseChange(s.Event)
	require.NoError(t, err)
	require.Equal(t, clerk.Version{UpdatedAt: 1768208400002, EventAt: 1768208400002, EventID: s.Event.ID}, c.Version)
	require.Equal(t, "org:admin", c.Membership.Role)

	s, err = snapshot(t, clerk.KindOrganization, `{"id":"org_1","members_count":3,"created_at":1768208400001,"updated_at":1768208400002}`)
	require.NoError(t, err)
	require.EqualValues(t, 3, s.Members)
}

// TestSnapshotIsLessThanItsWebhook: the webhook about the same state wins, whichever comes
// first, even when both have the same times.
func TestSnapshotIsLessThanItsWebhook(t *testing.T) {
	t.Parallel()
	const at = 1768208400002
	data, err := json.Marshal(testkit.UserData("user_1", "", "Ada", at, at))
	require.NoError(t, err)
	s, err := snapshot(t, clerk.KindUser, string(data))
	require.NoError(t, err)
	version := testkit.Change(s.Event).Version
	for emitted := range int64(3) {
		webhook := testkit.Event("msg_0", "user.updated", at+emitted, testkit.UserData("user_1", "", "Ada", at, at))
		require.Negative(t, version.Compare(testkit.Change(webhook).Version))
	}
	older := testkit.Event("msg_0", "user.updated", at+9, testkit.UserData("user_1", "", "Ada", at, at-1))
	require.Positive(t, version.Compare(testkit.Change(older).Version))
}

func TestNoSnapshot(t *testing.T) {
	t.Parallel()
	const times = `"created_at":1768208400001,"updated_at":1768208400002`
	for name, test := range map[string]struct {
		kind clerk.Kind
		data string
		want error
	}{
		"not JSON":                 {clerk.KindUser, `{`, clerk.ErrUndecodable},
		"a key twice":              {clerk.KindUser, `{"id":"user_1","id":"user_2",` + times + `}`, clerk.ErrUndecodable},
		"no id":                    {clerk.KindUser, `{` + times + `}`, clerk.ErrNoID},
		"an id that is a wildcard": {clerk.KindUser, `{"id":"user_>",` + times + `}`, clerk.ErrUnusableID},
		"another kind":             {clerk.KindUser, `{"id":"org_1",` + times + `}`, clerk.ErrUnusableID},
		"no updated_at":            {clerk.KindUser, `{"id":"user_1","created_at":1768208400001}`, clerk.ErrUndecodable},
		"seconds":                  {clerk.KindUser, `{"id":"user_1","updated_at":1768208400}`, clerk.ErrUndecodable},
		"no organization":          {clerk.KindMembership, `{"id":"orgmem_1","public_user_data":{"user_id":"user_1"},` + times + `}`, clerk.ErrNoID},
		"no user":                  {clerk.KindMembership, `{"id":"orgmem_1","organization":{"id":"org_1"},` + times + `}`, clerk.ErrNoID},
		"too large":                {clerk.KindUser, fmt.Sprintf(`{"id":"user_1",%s,"x":%q}`, times, strings.Repeat("x", clerk.MaxBody)), clerk.ErrUndecodable},
	} {
		_, err := snapshot(t, test.kind, test.data)
		require.ErrorIs(t, err, test.want, name)
		require.NotContains(t, err.Error(), "user_>")
	}
}
