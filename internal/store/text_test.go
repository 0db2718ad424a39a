package store_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestWhatPostgreSQLCannotHoldIsReplaced: NUL, lone surrogates and broken UTF-8 in
// names and metadata become U+FFFD; all else is kept as it came.
func TestWhatPostgreSQLCannotHoldIsReplaced(t *testing.T) {
	t.Parallel()
	s := testkit.Store(t)
	for escaped, want := range map[string]string{
		`a\u0000b`:       "a\uFFFDb",
		`a\ud800b`:       "a\uFFFDb",
		`a\udc00\ud800b`: "a\uFFFD\uFFFDb",
		"a\xffb":         "a\uFFFDb",
		`\ud83e\udd8a`:   "🦊",
		`a\\u0000b`:      `a\u0000b`,
		`Zoë {\"'\\\"}`:  `Zoë {"'\"}`,
	} {
		empty(t, s)
		user := testkit.UserData("user_1", "", "TEXT", base, base)
		user["public_metadata"] = testkit.Object{"TEXT": "TEXT"}
		org := testkit.OrganizationData("org_1", "TEXT", base, base)
		membership := testkit.MembershipData("orgmem_1", "user_1", "org_1", "TEXT", base, base)
		membership["permissions"] = []string{"TEXT"}
		var events []*clerk.Event
		for eventType, data := range map[string]testkit.Object{
			"user.updated": user, "organization.updated": org, "organizationMembership.updated": membership,
		} {
			e := testkit.Event(msg(eventType), eventType, base, data)
			e.Body = []byte(strings.ReplaceAll(string(e.Body), "TEXT", escaped))
			events = append(events, e)
		}
		batch(t, s, events...)
		u, o, m := users(t, s)["user_1"], organizations(t, s)["org_1"], memberships(t, s)["orgmem_1"]
		require.Equal(t, want, u["name"], escaped)
		require.Equal(t, row{want: want}, u["public_metadata"], escaped)
		require.Equal(t, want, u["raw"].(row)["first_name"], escaped)
		require.Equal(t, want, o["name"], escaped)
		require.Equal(t, want, m["role"], escaped)
		require.Equal(t, []any{want}, m["permissions"], escaped)
	}
}
