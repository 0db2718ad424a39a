package clerk_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
)

func TestSubject(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]clerk.Envelope{
		"clerk.events.user.created.user_1.-.user_1": {Type: "user.created", EntityID: "user_1", UserID: "user_1"},
		"clerk.events.organizationMembership.deleted.orgmem_1.org_1.user_1": {
			Type: "organizationMembership.deleted", EntityID: "orgmem_1", OrgID: "org_1", UserID: "user_1",
		},
		"clerk.events.-.-.-.-.-":               {},
		"clerk.events.user.-.-.-.-":            {Type: "user"},
		"clerk.events.-.created.-.-.-":         {Type: ".created"},
		"clerk.events.user.-.user_1.-.-":       {Type: "user.created.again", EntityID: "user_1"},
		"clerk.events.user.created.-.org_1.-":  {Type: "user.created", EntityID: ">", OrgID: "org_1", UserID: "*"},
		"clerk.events.user.created.-.-.user_1": {Type: "user.created", EntityID: "a.b", OrgID: "a b", UserID: "user_1"},
	} {
		require.Equal(t, want, e.Subject("clerk.events"))
	}
}

var token = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// checkSubject fails unless the subject has exactly the five tokens, none of them
// empty or with a meaning to NATS.
func checkSubject(t require.TestingT, e clerk.Envelope) {
	subject := e.Subject("clerk.events")
	rest, ok := strings.CutPrefix(subject, "clerk.events.")
	require.True(t, ok, "%q", subject)
	tokens := strings.Split(rest, ".")
	require.Len(t, tokens, 5, "%q", subject)
	for _, s := range tokens {
		require.Regexp(t, token, s)
	}
	if e.CheckIDs() == nil {
		resource, action := clerk.SplitType(e.Type)
		for i, s := range []string{resource, action, e.EntityID, e.OrgID, e.UserID} {
			if s == "" {
				s = "-"
			}
			require.Equal(t, s, tokens[i], "%q", subject)
		}
	}
}

// hostile draws ids as they are and as they should not be.
func hostile() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[A-Za-z0-9_-]{0,130}`),
		rapid.StringMatching(`[a-z_.*> \n$/-]{0,12}`),
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
	)
}

// TestNoPayloadWidensASubject, whatever stands in the ids.
func TestNoPayloadWidensASubject(t *testing.T) {
	t.Parallel()
	types := rapid.OneOf(hostile(), rapid.Custom(func(t *rapid.T) string {
		resource := rapid.SampledFrom([]string{"user", "organization", "organizationMembership", "session", ""}).Draw(t, "resource")
		return resource + "." + hostile().Draw(t, "action")
	}))
	rapid.Check(t, func(t *rapid.T) {
		checkSubject(t, clerk.Envelope{
			Type: types.Draw(t, "type"), EntityID: hostile().Draw(t, "id"), OrgID: hostile().Draw(t, "org"), UserID: hostile().Draw(t, "user"),
		})
		// And on the whole way from a body.
		body, err := json.Marshal(map[string]any{
			"type": types.Draw(t, "type"),
			"data": map[string]any{
				"id": hostile().Draw(t, "data.id"), "organization_id": hostile().Draw(t, "organization_id"), "user_id": hostile().Draw(t, "user_id"),
				"organization":     map[string]any{"id": hostile().Draw(t, "organization.id")},
				"public_user_data": map[string]any{"user_id": hostile().Draw(t, "public_user_data.user_id")},
			},
		})
		require.NoError(t, err)
		e, _ := clerk.ParseEnvelope(body)
		checkSubject(t, e)
	})
}

func TestValidToken(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := hostile().Draw(t, "s")
		// In Go's regexp, $ without (?m) is the end of the text and not of the line.
		require.Equal(t, token.MatchString(s), clerk.ValidToken(s), "%q", s)
	})
	require.True(t, clerk.ValidToken(long))
	require.False(t, clerk.ValidToken(long+"x"))
	require.False(t, clerk.ValidToken(""))
}
