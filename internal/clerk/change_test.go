package clerk_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestUsersOfTestdata: what matters of the shapes that users come in, written
// down by hand.
func TestUsersOfTestdata(t *testing.T) {
	t.Parallel()
	type row struct {
		Email                         string
		Verified                      bool
		Phone, Username, First, Last  string
		Banned, Locked, Deprovisioned bool
	}
	for name, want := range map[string]row{
		"user.created":                              {Email: "ada@example.com", Verified: true, First: "Ada", Last: "Example"},
		"user.created--two-emails":                  {Email: "second-and-primary@example.com", Verified: true, First: "Test", Last: "Person"},
		"user.created--orphan-primary-email":        {First: "Test", Last: "Person"},
		"user.created--send-example":                {First: "Test", Last: "Person"},
		"user.created--unverified-primary-email":    {Email: "unverified-primary-email@example.com", First: "Test", Last: "Person"},
		"user.created--verification-statuses":       {Email: "failed@example.com", First: "Test", Last: "Person"},
		"user.created--verification-without-object": {Email: "verification-without-object@example.com", Verified: true, First: "Test", Last: "Person"},
		"user.created--phone-only":                  {Phone: "+12025550117", First: "Test", Last: "Person"},
		"user.created--web3-only":                   {},
		"user.created--username-only":               {Username: "username_only_1"},
		"user.created--nul-in-name":                 {Email: "nul-in-name@example.com", Verified: true, First: "Nul\uFFFDl", Last: "Person"},
		"user.updated--banned":                      {Email: "banned@example.com", Verified: true, First: "Test", Last: "Person", Banned: true},
		"user.updated--locked":                      {Email: "locked@example.com", Verified: true, First: "Test", Last: "Person", Locked: true},
		"user.updated--deprovisioned":               {Email: "deprovisioned@example.net", Verified: true, First: "Test", Last: "Person", Deprovisioned: true},
		"user.created--lone-surrogate-in-metadata":  {Email: "lone-surrogate-in-metadata@example.com", Verified: true, First: "Test", Last: "Person"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := clerk.ParseChange(file(t, name))
			require.NoError(t, err)
			u := c.User
			require.Empty(t, cmp.Diff(want, row{
				u.PrimaryEmail, u.EmailVerified, u.PhoneNumber, u.Username, u.FirstName, u.LastName, u.Banned, u.Locked, u.Deprovisioned,
			}))
		})
	}
}

func TestMetadataOfTestdata(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"user.created": `{}`,
		"organization.created--public-metadata-null": `{}`,
		"user.created--nul-in-metadata":              `{"note":"before\ufffdafter"}`,
		"user.created--lone-surrogate-in-metadata":   `{"high":"cut \ufffd off","low":"cut \ufffd off"}`,
	} {
		c, err := clerk.ParseChange(file(t, name))
		require.NoError(t, err)
		var got []byte
		if c.User != nil {
			got = c.User.PublicMetadata
		} else {
			got = c.Organization.PublicMetadata
		}
		require.JSONEq(t, want, string(got), name)
	}
	c, err := clerk.ParseChange(file(t, "user.created--nul-in-metadata"))
	require.NoError(t, err)
	require.Contains(t, string(c.User.Raw), `bad\ufffdkey`)
	require.NotContains(t, string(c.User.Raw), `\u0000`)
	c, err = clerk.ParseChange(file(t, "user.created--metadata"))
	require.NoError(t, err)
	require.Contains(t, string(c.User.Raw), `9007199254740993`, "a number beyond 2^53 is kept")
}

func TestMembershipsOfTestdata(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]clerk.Membership{
		"organizationMembership.updated": {
			UserID: "user_2synth00000000000000000Ada1", OrgID: "org_2synth0000000000000000Acme1", Role: "org:member",
		},
		"organizationMembership.created": {
			UserID: "user_2synth00000000000000000Ada1", OrgID: "org_2synth0000000000000000Acme1", Role: "org:admin",
		},
		"organizationMembership.deleted": {
			UserID: "user_2synth00000000000000000Ada1", OrgID: "org_2synth0000000000000000Acme1", Role: "org:member",
		},
	} {
		c, err := clerk.ParseChange(file(t, name))
		require.NoError(t, err)
		m := c.Membership
		require.Equal(t, want, clerk.Membership{UserID: m.UserID, OrgID: m.OrgID, Role: m.Role}, name)
	}
	for name, want := range map[string]string{
		"organizationMembership.created--custom-role":              "org:content_manager",
		"organizationMembership.created--legacy-role-admin":        "admin",
		"organizationMembership.created--legacy-role-basic-member": "basic_member",
	} {
		c, err := clerk.ParseChange(file(t, name))
		require.NoError(t, err)
		require.Equal(t, want, c.Membership.Role, name)
	}
	for _, name := range []string{"organizationMembership.deleted--bare", "organizationMembership.deleted--bare-without-object"} {
		c, err := clerk.ParseChange(file(t, name))
		require.NoError(t, err)
		require.Nil(t, c.Membership, name)
		require.True(t, c.Version.Deleted, name)
	}
}

func TestParseChangeOfTypesThatAreNotSynced(t *testing.T) {
	t.Parallel()
	for _, eventType := range []string{
		"session.created", "user.banned", "user.created.again", "users.created", "User.created", "organizationInvitation.created",
		"organization_membership.created",
	} {
		c, err := clerk.ParseChange(&clerk.Event{Body: []byte(`{"type":"` + eventType + `","data":{"id":"a b"}}`)})
		require.NoError(t, err, eventType)
		require.Nil(t, c, eventType)
	}
}

// TestChangeIsWhatTheBodySays, whatever the envelope says, which comes from the subject.
func TestChangeIsWhatTheBodySays(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"user.created", "user.deleted", "organization.created", "organizationMembership.created", "session.created"} {
		e := file(t, name)
		want, err := clerk.ParseChange(e)
		require.NoError(t, err)
		for _, eventType := range []string{"", "user.updated", "user.deleted", "organization.updated", "organizationMembership.deleted", "session.ended"} {
			e.Envelope.Type = eventType
			got, err := clerk.ParseChange(e)
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(want, got), "%s as %q", name, eventType)
		}
	}
}

// TestParseChangeWithoutATime takes that of the arrival: the event orders all the
// same.
func TestParseChangeWithoutATime(t *testing.T) {
	t.Parallel()
	e := testkit.Event("msg_1", "user.deleted", 0, testkit.DeletedData("user", "user_1"))
	e.ReceivedAt = time.UnixMilli(1768208400999)
	c, err := clerk.ParseChange(e)
	require.NoError(t, err)
	require.Equal(t, clerk.Version{Deleted: true, EventAt: 1768208400999, EventID: "msg_1"}, c.Version)
}

// TestSnapshotIsAChange: the Backend API's object comes in the same envelope.
func TestSnapshotIsAChange(t *testing.T) {
	t.Parallel()
	c, err := clerk.ParseChange(testkit.Event("msg_1", "user.snapshot", 1768208400999,
		testkit.UserData("user_1", "a@example.com", "Ada", 1768208400412, 1768208400413)))
	require.NoError(t, err)
	require.Equal(t, clerk.Version{UpdatedAt: 1768208400413, EventAt: 1768208400999, EventID: "msg_1"}, c.Version)
	require.Equal(t, "a@example.com", c.User.PrimaryEmail)
}

func TestParseChangeRefuses(t *testing.T) {
	t.Parallel()
	user := func(change func(testkit.Object)) testkit.Object {
		data := testkit.UserData("user_1", "a@example.com", "Ada", 1768208400412, 1768208400412)
		change(data)
		return data
	}
	member := func(change func(testkit.Object)) testkit.Object {
		data := testkit.MembershipData("orgmem_1", "user_1", "org_1", "org:admin", 1768208400412, 1768208400412)
		change(data)
		return data
	}
	tests := map[string]struct {
		eventType string
		data      testkit.Object
		want      error
	}{
		"created_at negative":       {"user.created", user(func(d testkit.Object) { d["created_at"] = -1 }), clerk.ErrUndecodable},
		"updated_at after 9999":     {"user.created", user(func(d testkit.Object) { d["updated_at"] = 253402300800000 }), clerk.ErrUndecodable},
		"last_sign_in_at negative":  {"user.created", user(func(d testkit.Object) { d["last_sign_in_at"] = -5 }), clerk.ErrUndecodable},
		"updated_at a string":       {"user.created", user(func(d testkit.Object) { d["updated_at"] = "1768208400412" }), clerk.ErrUndecodable},
		"name a number":             {"user.created", user(func(d testkit.Object) { d["first_name"] = 7 }), clerk.ErrUndecodable},
		"banned a string":           {"user.created", user(func(d testkit.Object) { d["banned"] = "false" }), clerk.ErrUndecodable},
		"addresses an object":       {"user.created", user(func(d testkit.Object) { d["email_addresses"] = testkit.Object{} }), clerk.ErrUndecodable},
		"user id with a dot":        {"user.created", user(func(d testkit.Object) { d["id"] = "user.1" }), clerk.ErrUnusableID},
		"user id empty":             {"user.created", user(func(d testkit.Object) { d["id"] = "" }), clerk.ErrNoID},
		"organization name a bool":  {"organization.created", testkit.Object{"id": "org_1", "name": true}, clerk.ErrUndecodable},
		"organization time":         {"organization.updated", testkit.Object{"id": "org_1", "created_at": -1}, clerk.ErrUndecodable},
		"member of a wide user":     {"organizationMembership.created", member(func(d testkit.Object) { d["public_user_data"] = testkit.Object{"user_id": "*"} }), clerk.ErrUnusableID},
		"member of a wide org":      {"organizationMembership.deleted", member(func(d testkit.Object) { d["organization"] = testkit.Object{"id": "a.b"} }), clerk.ErrUnusableID},
		"member without org":        {"organizationMembership.updated", member(func(d testkit.Object) { delete(d, "organization") }), clerk.ErrNoID},
		"permissions a string":      {"organizationMembership.created", member(func(d testkit.Object) { d["permissions"] = "all" }), clerk.ErrUndecodable},
		"membership updated in -1":  {"organizationMembership.created", member(func(d testkit.Object) { d["updated_at"] = -1 }), clerk.ErrUndecodable},
		"delete of nothing":         {"user.deleted", testkit.Object{"deleted": true}, clerk.ErrNoID},
		"membership without its id": {"organizationMembership.deleted", member(func(d testkit.Object) { delete(d, "id") }), clerk.ErrNoID},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := clerk.ParseChange(testkit.Event("msg_1", tc.eventType, 1768208400426, tc.data))
			require.ErrorIs(t, err, tc.want)
			require.Equal(t, tc.want.Error(), clerk.Reason(err))
			require.Nil(t, c)
		})
	}
}

// TestDeleteKeepsNothingButTheID: the person is gone, whatever came along.
func TestDeleteKeepsNothingButTheID(t *testing.T) {
	t.Parallel()
	data := testkit.UserData("user_1", "a@example.com", "Ada", 1768208400412, 1768208400413)
	c, err := clerk.ParseChange(testkit.Event("msg_1", "user.deleted", 1768208400426, data))
	require.NoError(t, err)
	require.Equal(t, &clerk.Change{
		Kind: clerk.KindUser, ID: "user_1", Version: clerk.Version{Deleted: true, EventAt: 1768208400426, EventID: "msg_1"},
	}, c)
}

// TestKeysThatBecomeEqual when NUL is replaced are no reason to lose the event:
// jsonb keeps the last of them.
func TestKeysThatBecomeEqual(t *testing.T) {
	t.Parallel()
	body := []byte(`{"type":"user.created","timestamp":1768208400426,"data":{"id":"user_1","unsafe_metadata":{"a\u0000":1,"a\ufffd":2}}}`)
	c, err := clerk.ParseChange(&clerk.Event{ID: "msg_1", Body: body})
	require.NoError(t, err)
	require.Equal(t, `{"id":"user_1","unsafe_metadata":{"a\ufffd":1,"a\ufffd":2}}`, string(c.User.Raw))
}

// TestLoneSurrogatesMakeEqualKeys: read as JSON, both are U+FFFD already.
func TestLoneSurrogatesMakeEqualKeys(t *testing.T) {
	t.Parallel()
	for _, keys := range []string{`"a\ud800":1,"a\ufffd":2`, `"a\ud800":1,"a\udc00":2`} {
		body := []byte(`{"type":"user.created","timestamp":1768208400426,"data":{"id":"user_1","unsafe_metadata":{` + keys + `}}}`)
		_, err := clerk.ParseChange(&clerk.Event{ID: "msg_1", Body: body})
		require.ErrorIs(t, err, clerk.ErrUndecodable, keys)
		require.False(t, strings.Contains(err.Error(), "a\\u"), keys)
	}
}

// TestFromTheFuture: an entity that was updated more than a day after its event was received
// is refused, whatever the envelope says and whatever the time is now. A delete has no time
// of its own.
func TestFromTheFuture(t *testing.T) {
	t.Parallel()
	received := time.Date(2031, 5, 1, 12, 0, 0, 0, time.UTC)
	parse := func(eventType, data string, emitted, received time.Time) error {
		_, err := clerk.ParseChange(&clerk.Event{
			ID: "msg_1", ReceivedAt: received,
			Body: fmt.Appendf(nil, `{"type":%q,"timestamp":%d,"data":%s}`, eventType, emitted.UnixMilli(), data),
		})
		return err
	}
	for _, emitted := range []time.Time{received, received.Add(48 * time.Hour), time.UnixMilli(0)} {
		for entity, data := range map[string]string{
			"user": `{"id":"user_1","updated_at":%d}`, "organization": `{"id":"org_1","updated_at":%d}`,
			"organizationMembership": `{"id":"orgmem_1","organization":{"id":"org_1"},"public_user_data":{"user_id":"user_1"},"updated_at":%d}`,
		} {
			at := func(t time.Time) string { return fmt.Sprintf(data, t.UnixMilli()) }
			require.NoError(t, parse(entity+".updated", at(received.Add(24*time.Hour)), emitted, received), entity)
			require.NoError(t, parse(entity+".updated", at(received.Add(48*time.Hour)), emitted, time.Time{}), "received at an unknown time")
			err := parse(entity+".updated", at(received.Add(24*time.Hour+time.Millisecond)), emitted, received)
			require.EqualError(t, err, "future: data.updated_at is more than a day after the event was received")
			require.Equal(t, "future", clerk.Reason(err))
			err = parse(entity+".created", at(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)), emitted, received)
			require.ErrorIs(t, err, clerk.ErrFuture)
		}
		require.NoError(t, parse("user.deleted", `{"id":"user_1","updated_at":4102444800000}`, emitted, received))
	}
}
