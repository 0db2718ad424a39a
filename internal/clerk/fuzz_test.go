package clerk_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

// FuzzParse: no body makes the parser panic, and of what comes out all that is
// promised to PostgreSQL and to the subjects holds.
func FuzzParse(f *testing.F) {
	for _, body := range files(f) {
		f.Add(body)
	}
	for _, body := range []string{
		``, `{}`, `{"type":"user.created","data":{"id":"user_1","first_name":"\ud800\u0000","public_metadata":{"a\u0000":1,"a\ufffd":2}}}`,
		`{"type":"organizationMembership.deleted","data":{"id":"orgmem_1","organization":{"id":"org_1"},"public_user_data":{"user_id":"user_1"},"updated_at":-1}}`,
		`{"type":"user.snapshot","timestamp":99999999999,"data":{"id":"user_1","updated_at":253402300799999,"email_addresses":null}}`,
		"{\"type\":\"organization.updated\",\"timestamp\":253402300799999,\"data\":{\"id\":\"org_1\",\"name\":\"\xff\xed\xa0\x80\"}}",
	} {
		f.Add([]byte(body))
	}
	received := time.UnixMilli(1768208400500)
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		e := &clerk.Event{ID: "msg_1", ReceivedAt: received, Body: body}
		var err error
		e.Envelope, err = clerk.ParseEnvelope(body)
		clerk.TypeOf(body)
		checkSubject(t, e.Envelope)
		if err != nil {
			require.Contains(t, []string{"undecodable", "no_type"}, clerk.Reason(err))
		} else {
			require.Equal(t, e.Envelope.Type, clerk.TypeOf(body))
			require.GreaterOrEqual(t, e.Envelope.EventAt, int64(0))
			require.LessOrEqual(t, e.Envelope.EventAt, int64(clerk.MaxMillis))
		}
		c, err := clerk.ParseChange(e)
		require.Equal(t, before, string(body), "the body is not changed")
		if err != nil {
			require.NotEmpty(t, clerk.Reason(err))
			require.Nil(t, c)
			return
		}
		if c == nil {
			return
		}
		checkChange(t, e, c)
	})
}

func checkChange(t *testing.T, e *clerk.Event, c *clerk.Change) {
	require.True(t, clerk.ValidToken(c.ID))
	checkTimes(t, c.Version.UpdatedAt, c.Version.EventAt)
	require.Equal(t, "msg_1", c.Version.EventID)
	require.Equal(t, strings.HasSuffix(e.Envelope.Type, ".deleted"), c.Version.Deleted)
	require.Equal(t, -1, clerk.Version{}.Compare(c.Version), "a stub loses to any event")

	set := 0
	if u := c.User; u != nil {
		set++
		require.Equal(t, clerk.KindUser, c.Kind)
		checkTimes(t, u.CreatedAt, u.UpdatedAt, u.LastSignInAt)
		checkText(t, u.PrimaryEmail, u.Username, u.FirstName, u.LastName, u.PhoneNumber, u.ImageURL, u.ExternalID)
		checkJSON(t, u.Raw, u.PublicMetadata)
	}
	if o := c.Organization; o != nil {
		set++
		require.Equal(t, clerk.KindOrganization, c.Kind)
		checkTimes(t, o.CreatedAt, o.UpdatedAt)
		checkText(t, o.Name, o.Slug, o.ImageURL, o.CreatedBy)
		checkJSON(t, o.Raw, o.PublicMetadata)
	}
	if m := c.Membership; m != nil {
		set++
		require.Equal(t, clerk.KindMembership, c.Kind)
		require.True(t, clerk.ValidToken(m.UserID))
		require.True(t, clerk.ValidToken(m.OrgID))
		checkTimes(t, m.CreatedAt, m.UpdatedAt)
		checkText(t, m.Role)
		checkText(t, m.Permissions...)
		checkJSON(t, m.PublicMetadata)
	}
	if c.Version.Deleted {
		require.True(t, set == 0 || c.Membership != nil && set == 1)
	} else {
		require.Equal(t, 1, set)
	}
}

func checkTimes(t *testing.T, times ...int64) {
	for _, at := range times {
		require.GreaterOrEqual(t, at, int64(0))
		require.LessOrEqual(t, at, int64(clerk.MaxMillis))
	}
}

func checkText(t *testing.T, texts ...string) {
	for _, s := range texts {
		require.True(t, isText(s), "%q", s)
	}
}

// isText reports whether a column of type text takes s.
func isText(s string) bool { return strings.ToValidUTF8(s, "") == s && !strings.Contains(s, "\x00") }

// checkJSON fails unless jsonb takes the values, and every reader reads them alike:
// valid Unicode, no NUL, no key twice, an object.
func checkJSON(t *testing.T, values ...jsontext.Value) {
	for _, v := range values {
		require.Equal(t, jsontext.Kind('{'), v.Kind())
		require.True(t, v.IsValid(jsontext.AllowDuplicateNames(true)), "%q", v)
		all, err := stringsIn(v)
		require.NoError(t, err)
		checkText(t, all...)
	}
}
