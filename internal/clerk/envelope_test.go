package clerk_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

// long is the longest id that may become a token.
var long = strings.Repeat("x", 128)

func TestParseEnvelope(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		want clerk.Envelope
	}{
		"a user is its own user": {
			`{"type":"user.created","timestamp":1768208400426,"instance_id":"ins_1","data":{"id":"user_1"}}`,
			clerk.Envelope{Type: "user.created", EventAt: 1768208400426, InstanceID: "ins_1", EntityID: "user_1", UserID: "user_1"},
		},
		"an organization is its own organization": {
			`{"type":"organization.updated","timestamp":1768208400426,"data":{"id":"org_1","created_by":"user_9"}}`,
			clerk.Envelope{Type: "organization.updated", EventAt: 1768208400426, EntityID: "org_1", OrgID: "org_1"},
		},
		"a membership belongs to both": {
			`{"type":"organizationMembership.created","timestamp":1768208400426,"data":{"id":"orgmem_1",
			  "organization":{"name":"o","id":"org_1"},"public_user_data":{"first_name":null,"user_id":"user_1"}}}`,
			clerk.Envelope{
				Type: "organizationMembership.created", EventAt: 1768208400426,
				EntityID: "orgmem_1", OrgID: "org_1", UserID: "user_1",
			},
		},
		"of a membership, ids beside the embedded objects are not meant": {
			`{"type":"organizationMembership.created","timestamp":1768208400426,"data":{"id":"orgmem_1","organization_id":"org_9",
			  "user_id":"user_9","organization":{"id":"org_1"},"public_user_data":{"user_id":"user_1"}}}`,
			clerk.Envelope{
				Type: "organizationMembership.created", EventAt: 1768208400426,
				EntityID: "orgmem_1", OrgID: "org_1", UserID: "user_1",
			},
		},
		"other events say whom they belong to": {
			`{"type":"organizationInvitation.accepted","timestamp":1768208400426,"data":{"id":"orginv_1","organization_id":"org_1","user_id":"user_1"}}`,
			clerk.Envelope{
				Type: "organizationInvitation.accepted", EventAt: 1768208400426,
				EntityID: "orginv_1", OrgID: "org_1", UserID: "user_1",
			},
		},
		"null is no user": {
			`{"type":"email.created","timestamp":1768208400426,"instance_id":null,"data":{"id":"ema_1","organization_id":null,"user_id":null}}`,
			clerk.Envelope{Type: "email.created", EventAt: 1768208400426, EntityID: "ema_1"},
		},
		"no timestamp":   {`{"type":"user.created","data":{"id":"user_1"}}`, clerk.Envelope{Type: "user.created", EntityID: "user_1", UserID: "user_1"}},
		"timestamp null": {`{"type":"user.created","timestamp":null,"data":{"id":"user_1"}}`, clerk.Envelope{Type: "user.created", EntityID: "user_1", UserID: "user_1"}},
		"no data":        {`{"type":"user.created"}`, clerk.Envelope{Type: "user.created"}},
		"data null":      {`{"type":"user.created","data":null}`, clerk.Envelope{Type: "user.created"}},
		"a type of three parts is taken as it is": {
			`{"type":"user.created.again","data":{"id":"user_1"}}`,
			clerk.Envelope{Type: "user.created.again", EntityID: "user_1", UserID: "user_1"},
		},
		"space around": {"\r\n\t {\"type\":\"user.created\"} \n", clerk.Envelope{Type: "user.created"}},
		"an unknown type": {
			`{"type":"spaceship.launched","data":{"id":"ship_1"}}`, clerk.Envelope{Type: "spaceship.launched", EntityID: "ship_1"},
		},
		"a lone surrogate and broken UTF-8 are no reason to lose an event": {
			"{\"type\":\"user.created\",\"data\":{\"id\":\"user_1\",\"first_name\":\"\\ud800\",\"last_name\":\"\xff\"}}",
			clerk.Envelope{Type: "user.created", EntityID: "user_1", UserID: "user_1"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := clerk.ParseEnvelope([]byte(tc.body))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(tc.want, got))
		})
	}
}

// TestParseEnvelopeSecondsOrMilliseconds: the line is drawn at 1e11.
func TestParseEnvelopeSecondsOrMilliseconds(t *testing.T) {
	t.Parallel()
	for timestamp, want := range map[int64]int64{
		0:               0,
		1:               1000,
		1716883200:      1716883200000, // that of Clerk's examples
		99_999_999_999:  99_999_999_999_000,
		100_000_000_000: 100_000_000_000,
		1768208400426:   1768208400426,
		253402300799999: 253402300799999, // the last millisecond of the year 9999
	} {
		e, err := clerk.ParseEnvelope(fmt.Appendf(nil, `{"type":"user.created","timestamp":%d}`, timestamp))
		require.NoError(t, err, timestamp)
		require.Equal(t, want, e.EventAt, timestamp)
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body string
		want error
	}{
		"nothing":                   {``, clerk.ErrUndecodable},
		"space":                     {" \n", clerk.ErrUndecodable},
		"text":                      {`hello`, clerk.ErrUndecodable},
		"an array":                  {`[{"type":"user.created"}]`, clerk.ErrUndecodable},
		"a string":                  {`"user.created"`, clerk.ErrUndecodable},
		"a number":                  {`1`, clerk.ErrUndecodable},
		"cut off":                   {`{"type":"user.created","data":{"id":"user_1"`, clerk.ErrUndecodable},
		"a second object after it":  {`{"type":"user.created"}{"type":"user.deleted"}`, clerk.ErrUndecodable},
		"text after it":             {`{"type":"user.created"}x`, clerk.ErrUndecodable},
		"a NUL after it":            {"{\"type\":\"user.created\"}\x00", clerk.ErrUndecodable},
		"a byte order mark":         {"\ufeff{\"type\":\"user.created\"}", clerk.ErrUndecodable},
		"a comment":                 {`{"type":"user.created"/**/}`, clerk.ErrUndecodable},
		"a comma too many":          {`{"type":"user.created",}`, clerk.ErrUndecodable},
		"fault in an unread field":  {`{"type":"user.created","data":{"unsafe_metadata":{"a":[1,}}}}`, clerk.ErrUndecodable},
		"key twice, top":            {`{"type":"user.created","type":"user.deleted"}`, clerk.ErrUndecodable},
		"key twice, same value":     {`{"type":"user.created","type":"user.created"}`, clerk.ErrUndecodable},
		"key twice, escaped":        {`{"type":"user.created","\u0074ype":"user.deleted"}`, clerk.ErrUndecodable},
		"key twice, in data":        {`{"type":"user.created","data":{"id":"user_1","id":"user_2"}}`, clerk.ErrUndecodable},
		"key twice, not ours":       {`{"type":"user.created","x":1,"x":1}`, clerk.ErrUndecodable},
		"key twice, deep":           {`{"type":"user.created","data":{"id":"user_1","public_metadata":{"a":[{"b":{"c":1,"c":2}}]}}}`, clerk.ErrUndecodable},
		"key twice, organization":   {`{"type":"organizationMembership.created","data":{"organization":{"id":"org_1","id":"org_2"}}}`, clerk.ErrUndecodable},
		"key twice, user data":      {`{"type":"organizationMembership.created","data":{"public_user_data":{"user_id":"a","user_id":"b"}}}`, clerk.ErrUndecodable},
		"key twice, after the data": {`{"data":{},"type":"user.created","event_attributes":{"http_request":{"client_ip":"","client_ip":""}}}`, clerk.ErrUndecodable},
		"data is an array":          {`{"type":"user.created","data":[]}`, clerk.ErrUndecodable},
		"data is a string":          {`{"type":"user.created","data":"user_1"}`, clerk.ErrUndecodable},
		"id is a number":            {`{"type":"user.created","data":{"id":1}}`, clerk.ErrUndecodable},
		"type is a number":          {`{"type":1}`, clerk.ErrUndecodable},
		"timestamp is a string":     {`{"type":"user.created","timestamp":"1768208400426"}`, clerk.ErrUndecodable},
		"timestamp is a fraction":   {`{"type":"user.created","timestamp":1768208400.5}`, clerk.ErrUndecodable},
		"timestamp is negative":     {`{"type":"user.created","timestamp":-1}`, clerk.ErrUndecodable},
		"timestamp after 9999":      {`{"type":"user.created","timestamp":253402300800000}`, clerk.ErrUndecodable},
		"timestamp beyond 64 bits":  {`{"type":"user.created","timestamp":9223372036854775808}`, clerk.ErrUndecodable},
		"no type":                   {`{"data":{"id":"user_1"}}`, clerk.ErrNoType},
		"an empty object":           {`{}`, clerk.ErrNoType},
		"type empty":                {`{"type":""}`, clerk.ErrNoType},
		"type null":                 {`{"type":null}`, clerk.ErrNoType},
		"type of one part":          {`{"type":"user"}`, clerk.ErrNoType},
		"type without action":       {`{"type":"user."}`, clerk.ErrNoType},
		"type without resource":     {`{"type":".created"}`, clerk.ErrNoType},
		"Type is not type":          {`{"Type":"user.created"}`, clerk.ErrNoType},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := clerk.ParseEnvelope([]byte(tc.body))
			require.ErrorIs(t, err, tc.want)
			require.Equal(t, tc.want.Error(), clerk.Reason(err))
		})
	}
}

// TestParseEnvelopeOtherShapes: only in events about memberships do organization
// and public_user_data have to be what they are there.
func TestParseEnvelopeOtherShapes(t *testing.T) {
	t.Parallel()
	shapes := []string{
		`null`, `true`, `7`, `"org_1"`, `[]`, `[{"id":"org_1","user_id":"user_1"}]`, `{}`, `{"id":7,"user_id":[]}`,
		`{"id":{"id":"org_1"},"user_id":null}`, `{"a":{"id":"org_1","user_id":"user_1"}}`,
	}
	for _, shape := range shapes {
		for _, eventType := range []string{"user.created", "session.created", "organizationDomain.created"} {
			body := fmt.Sprintf(`{"type":%q,"data":{"id":"user_1","organization":%s,"public_user_data":%[2]s}}`, eventType, shape)
			e, err := clerk.ParseEnvelope([]byte(body))
			require.NoError(t, err, body)
			require.Equal(t, "user_1", e.EntityID, body)
			require.NoError(t, e.CheckIDs(), body)
		}
		body := fmt.Sprintf(`{"type":"organizationMembership.created","data":{"id":"orgmem_1","organization":%s,"public_user_data":%[1]s}}`, shape)
		e, err := clerk.ParseEnvelope([]byte(body))
		require.NoError(t, err, body)
		require.Empty(t, e.OrgID+e.UserID, body)
		_, err = clerk.ParseChange(&clerk.Event{ID: "msg_1", Body: []byte(body), Envelope: e})
		require.ErrorIs(t, err, clerk.ErrNoID, body)
	}
}

func TestCheckIDs(t *testing.T) {
	t.Parallel()
	unusable := map[string]string{
		"dot": "user_1.x", "star": "*", "rest": ">", "space": "user 1", "newline": "user_1\n", "NUL": "user\x00", "slash": "a/b",
		"tab": "a\tb", "not ASCII": "usér", "surrogate": "\xed\xa0\x80", "too long": long + "x", "dollar": "$JS", "plus": "a+b",
	}
	for name, id := range unusable {
		for field, e := range map[string]clerk.Envelope{
			"entity":       {Type: "session.created", EntityID: id},
			"organization": {Type: "session.created", EntityID: "sess_1", OrgID: id},
			"user":         {Type: "session.created", EntityID: "sess_1", UserID: id},
			"resource":     {Type: strings.ReplaceAll(id, ".", "*") + ".created", EntityID: "sess_1"},
			"action":       {Type: "session." + id, EntityID: "sess_1"},
		} {
			t.Run(name+" in "+field, func(t *testing.T) {
				t.Parallel()
				err := e.CheckIDs()
				require.ErrorIs(t, err, clerk.ErrUnusableID)
				require.Equal(t, "unusable_id", clerk.Reason(err))
			})
		}
	}
	require.ErrorIs(t, clerk.Envelope{Type: "user.deleted"}.CheckIDs(), clerk.ErrNoID)
	require.ErrorIs(t, clerk.Envelope{Type: "user.created.again", EntityID: "user_1"}.CheckIDs(), clerk.ErrUnusableID)
	require.NoError(t, clerk.Envelope{Type: "a.b", EntityID: long, OrgID: "_-09azAZ", UserID: "-"}.CheckIDs())
}

// TestIDsOfAnotherKind: an entity, and the parents of a membership, have ids with the prefix
// of their kind. Ids of types that are not synced may be any.
func TestIDsOfAnotherKind(t *testing.T) {
	t.Parallel()
	membership := func(id, org, user string) clerk.Envelope {
		return clerk.Envelope{Type: "organizationMembership.created", EntityID: id, OrgID: org, UserID: user}
	}
	for want, e := range map[string]clerk.Envelope{
		"data.id is not of the form user_…":        {Type: "user.created", EntityID: "org_1"},
		"data.id is not of the form org_…":         {Type: "organization.deleted", EntityID: "orgmem_1"},
		"data.id is not of the form orgmem_…":      membership("org_1", "org_1", "user_1"),
		"organization id is not of the form org_…": membership("orgmem_1", "user_1", "user_1"),
		"user id is not of the form user_…":        membership("orgmem_1", "org_1", "sess_1"),
	} {
		require.EqualError(t, e.CheckIDs(), "unusable_id: "+want)
		require.ErrorIs(t, e.CheckIDs(), clerk.ErrUnusableID)
	}
	for _, id := range []string{"user", "user_", "users_1", "User_1", "_user_1", "1"} {
		for _, action := range []string{"created", "updated", "deleted", "snapshot"} {
			require.ErrorIs(t, clerk.Envelope{Type: "user." + action, EntityID: id}.CheckIDs(), clerk.ErrUnusableID, id)
		}
		_, err := clerk.ParseChange(&clerk.Event{ID: "msg_1", Body: fmt.Appendf(nil, `{"type":"user.deleted","data":{"id":%q}}`, id)})
		require.ErrorIs(t, err, clerk.ErrUnusableID, id)
	}
	for _, e := range []clerk.Envelope{
		{Type: "user.created", EntityID: "user_1"},
		{Type: "organization.updated", EntityID: "org_2abc"},
		membership("orgmem_1", "org_1", "user_1"),
		membership("orgmem_1", "", ""), // as in a delete of the id alone
		{Type: "users.created", EntityID: "x_1"},
		{Type: "session.created", EntityID: "sess_1", UserID: "x_1", OrgID: "x_1"},
	} {
		require.NoError(t, e.CheckIDs(), "%+v", e)
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	// These names are stored with dead letters: they are part of the contract.
	for err, want := range map[error]string{
		clerk.ErrUndecodable: "undecodable", clerk.ErrNoType: "no_type", clerk.ErrNoID: "no_id",
		clerk.ErrUnusableID: "unusable_id", clerk.ErrFuture: "future", clerk.ErrWrongInstance: "wrong_instance",
	} {
		require.Equal(t, want, clerk.Reason(err))
		require.Equal(t, want, clerk.Reason(fmt.Errorf("park: %w", fmt.Errorf("%w: why", err))))
	}
	require.Empty(t, clerk.Reason(nil))
	require.Empty(t, clerk.Reason(errors.New("undecodable")))
}

// TestTypeOf: what cannot be parsed may still say that it is to be left alone.
func TestTypeOf(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"data":{"a":1,"a":2},"type":"email.created"}`:              "email.created",
		`{"type":"email.created","data":{"otp_code":"1`:              "email.created",
		`{"type":"email.created"} trailing`:                          "email.created",
		`{"timestamp":"x","type":"sms.created"}`:                     "sms.created",
		"{\"data\":{\"subject\":\"\xff\"},\"type\":\"sms.created\"}": "sms.created",
		`{"type":"user.created","a":1,"type":"user.created"}`:        "user.created",
		`{"type":"user.created","a":1,"type":"email.created"}`:       "",
		`{"type":"user.created","a":1,"type":"user.cre`:              "",
		`{"data":{"type":"user.created"}}`:                           "",
		`{"data":{"otp_code":"1`:                                     "",
		`{"type":7}`:                                                 "",
		`{"type":null}`:                                              "",
		`{"type":"cut`:                                               "",
		`{}`:                                                         "",
		`[]`:                                                         "",
		`["type","email.created"]`:                                   "",
		`"type"`:                                                     "",
		``:                                                           "",
	} {
		require.Equal(t, want, clerk.TypeOf([]byte(body)), body)
	}
}
