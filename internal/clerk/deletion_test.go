package clerk_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

// TestDeletion is an event that parses as the delete that Clerk would have sent.
func TestDeletion(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli(1768208500000)
	for _, test := range []struct {
		d             clerk.Deletion
		body, subject string
	}{
		{
			clerk.Deletion{Kind: clerk.KindUser, ID: "user_1", InstanceID: "ins_1", SeenAt: at},
			`{"type":"user.deleted","object":"event","instance_id":"ins_1","timestamp":1768208500000,"data":{"id":"user_1","deleted":true}}`,
			"clerk.events.user.deleted.user_1.-.user_1",
		},
		{
			clerk.Deletion{Kind: clerk.KindOrganization, ID: "org_1", SeenAt: at},
			`{"type":"organization.deleted","object":"event","timestamp":1768208500000,"data":{"id":"org_1","deleted":true}}`,
			"clerk.events.organization.deleted.org_1.org_1.-",
		},
		{
			clerk.Deletion{Kind: clerk.KindMembership, ID: "orgmem_1", UserID: "user_1", OrgID: "org_1", InstanceID: "ins_1", SeenAt: at},
			`{"type":"organizationMembership.deleted","object":"event","instance_id":"ins_1","timestamp":1768208500000,` +
				`"data":{"id":"orgmem_1","deleted":true,"organization":{"id":"org_1"},"public_user_data":{"user_id":"user_1"}}}`,
			"clerk.events.organizationMembership.deleted.orgmem_1.org_1.user_1",
		},
	} {
		e := test.d.Event(clerk.OriginReconcile)
		require.Equal(t, test.body, string(e.Body))
		require.Equal(t, test.subject, e.Envelope.Subject("clerk.events"))
		require.Equal(t, clerk.OriginReconcile, e.Origin)
		require.Equal(t, "api_"+test.d.ID+"_deleted_1768208500000", e.ID)
		require.Equal(t, at, e.ReceivedAt)
		parsed, err := clerk.ParseEnvelope(e.Body)
		require.NoError(t, err)
		require.Equal(t, parsed, e.Envelope)
		require.NoError(t, parsed.CheckIDs())
		c, err := clerk.ParseChange(e)
		require.NoError(t, err)
		require.Equal(t, test.d.Kind, c.Kind)
		require.Equal(t, clerk.Version{Deleted: true, EventAt: at.UnixMilli(), EventID: e.ID}, c.Version)
	}
}
