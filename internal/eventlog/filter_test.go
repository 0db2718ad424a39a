package eventlog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
)

func TestFilterBecomesSubjects(t *testing.T) {
	t.Parallel()
	anything := []string{"*"}
	synced := []string{"organization", "organizationMembership", "user"}
	for _, test := range []struct {
		name      string
		filter    eventlog.Filter
		resources []string // nil is both known and unknown ones
		want      []string // below the prefix
		exact     bool
	}{
		{name: "everything", want: []string{">"}, exact: true},
		{name: "every type", filter: types("*.*"), want: []string{">"}, exact: true},
		{name: "a star for every type", filter: types("*"), want: []string{">"}},
		{name: "everything and something", filter: types("user.created", "*.*"), want: []string{">"}, exact: true},
		{name: "one type", filter: types("user.created"), want: []string{"user.created.*.-.*"}, exact: true},
		{name: "one resource", filter: types("user.*"), want: []string{"user.*.*.-.*"}, exact: true},
		{name: "one action", filter: types("*.created"), want: []string{"*.created.*.*.*"}, exact: true},
		{name: "a glob within a token", filter: types("organization*.created"), want: []string{"*.created.*.*.*"}},
		{name: "globs within both tokens", filter: types("organization*.[cu]*"), want: []string{">"}},
		{name: "a glob over the dot", filter: types("user*"), want: []string{">"}},
		{name: "a dot within brackets", filter: types("user[.]created"), want: []string{">"}},
		{name: "the same twice", filter: types("session.ended", "session.ended"), want: []string{"session.ended.*.*.*"}, exact: true},
		{name: "one within the other", filter: types("session.ended", "session.*", "session.created"), want: []string{"session.*.*.*.*"}, exact: true},
		{
			name: "a common part", filter: types("session.*", "*.created"), // the server counts the common part twice
			want: []string{"session.*.*.*.*", "*.created.*.*.*"},
		},
		{name: "side by side", filter: types("session.ended", "user.*"), want: []string{"session.ended.*.*.*", "user.*.*.-.*"}, exact: true},

		{name: "a user, of whatever", filter: eventlog.Filter{User: "user_1"}, resources: anything, want: []string{"*.*.*.*.user_1"}, exact: true},
		{
			name: "a user, of known resources", filter: eventlog.Filter{User: "user_1"}, resources: synced,
			want: []string{"organization.*.*.*.user_1", "organizationMembership.*.*.*.user_1", "user.*.user_1.-.user_1"}, exact: true,
		},
		{
			name: "a user and an action", filter: eventlog.Filter{User: "user_1", Types: []string{"*.deleted"}}, resources: []string{"session", "user"},
			want: []string{"session.deleted.*.*.user_1", "user.deleted.user_1.-.user_1"}, exact: true,
		},
		{
			name: "a user and a resource that is not known", filter: eventlog.Filter{User: "user_1", Types: []string{"session.*"}}, resources: synced,
			want: []string{"session.*.*.*.user_1"}, exact: true,
		},
		{name: "an organization, of whatever", filter: eventlog.Filter{Org: "org_1"}, resources: anything, want: []string{"*.*.*.org_1.*"}, exact: true},
		{
			name: "an organization, of known resources: no user's own events", filter: eventlog.Filter{Org: "org_1"}, resources: synced,
			want: []string{"organization.*.org_1.org_1.*", "organizationMembership.*.*.org_1.*"}, exact: true,
		},
		{name: "an organization and users", filter: eventlog.Filter{Org: "org_1", Types: []string{"user.*"}}, want: nil, exact: true},
		{
			name: "a user in an organization", filter: eventlog.Filter{Org: "org_1", User: "user_1"}, resources: synced,
			want: []string{"organization.*.org_1.org_1.user_1", "organizationMembership.*.*.org_1.user_1"}, exact: true,
		},
		{name: "a user as the entity", filter: eventlog.Filter{Entity: "user_1"}, want: []string{"user.*.user_1.-.*"}, exact: true},
		{name: "an organization as the entity", filter: eventlog.Filter{Entity: "org_1"}, want: []string{"organization.*.org_1.*.*"}, exact: true},
		{name: "a membership as the entity", filter: eventlog.Filter{Entity: "orgmem_1"}, want: []string{"organizationMembership.*.orgmem_1.*.*"}, exact: true},
		{name: "an entity and an action", filter: eventlog.Filter{Entity: "org_1", Types: []string{"*.deleted"}}, want: []string{"organization.deleted.org_1.*.*"}, exact: true},
		{name: "an entity that is another user", filter: eventlog.Filter{Entity: "user_1", User: "user_2"}, want: nil, exact: true},
		{name: "an entity that is another organization", filter: eventlog.Filter{Entity: "org_1", Org: "org_2"}, want: nil, exact: true},
		{name: "a membership of a user", filter: eventlog.Filter{Entity: "orgmem_1", User: "user_1", Org: "org_1"}, want: []string{"organizationMembership.*.orgmem_1.org_1.user_1"}, exact: true},
		{name: "origins", filter: eventlog.Filter{Origins: []clerk.Origin{clerk.OriginImport}}, want: []string{">"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.NoError(t, test.filter.Validate())
			var want []string
			for _, subject := range test.want {
				want = append(want, "clerk.events."+subject)
			}
			for _, resources := range [][]string{anything, synced} {
				if test.resources == nil || test.resources[0] == resources[0] {
					require.Equal(t, want, test.filter.Subjects("clerk.events", resources))
				}
			}
			if test.resources != nil {
				require.Equal(t, want, test.filter.Subjects("clerk.events", test.resources))
			}
			require.Equal(t, test.exact, test.filter.Exact())
		})
	}
}

func types(globs ...string) eventlog.Filter { return eventlog.Filter{Types: globs} }

func TestResourcesOfWhatIsStored(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"user", "organization", "session"}, eventlog.ResourcesOf("user.*", "organization.created", "session.e*"))
	require.Equal(t, []string{"*"}, eventlog.ResourcesOf("organization*.*"))
	require.Equal(t, []string{"*"}, eventlog.ResourcesOf("*"))
	require.Equal(t, []string{"*"}, eventlog.ResourcesOf("user*"))
	require.Empty(t, eventlog.ResourcesOf())
}

func TestFilterSaysWhatIsWrongWithIt(t *testing.T) {
	t.Parallel()
	const (
		badType = " is not a type of events: user.created, or a glob such as user.* or *.deleted"
		badUser = "user is not a Clerk id of the form user_…"
		badOrg  = "org is not a Clerk id of the form org_…"
	)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		filter eventlog.Filter
		fault  string // "" for none
	}{
		{},
		{filter: eventlog.Filter{Types: []string{"user.*", "*", "[a-z]*.created"}, Entity: "orgmem_1", User: "user_1", Org: "org_1", Limit: 1, From: 2, To: 2}},
		{filter: eventlog.Filter{From: 7}},
		{filter: eventlog.Filter{To: 7, Last: 1}},
		{filter: eventlog.Filter{Since: at, Until: at.Add(1)}},
		{types("user.["), `type "user.["` + badType},
		{types("user"), `type "user"` + badType},
		{types("user.*", ""), "type" + badType},
		{types("a." + strings.Repeat("x", 127)), `type "a.` + strings.Repeat("x", 127) + `"` + badType},
		{eventlog.Filter{Entity: "sess_1"}, "entity is not a Clerk id of the form user_…, org_… or orgmem_…"},
		{eventlog.Filter{Entity: "user_"}, "entity is not a Clerk id of the form user_…, org_… or orgmem_…"},
		{eventlog.Filter{Entity: "user_*"}, "entity is not a Clerk id of the form user_…, org_… or orgmem_…"},
		{eventlog.Filter{User: "ada@example.com"}, badUser},
		{eventlog.Filter{User: "org_1"}, badUser},
		{eventlog.Filter{User: "user_"}, badUser},
		{eventlog.Filter{User: "*"}, badUser},
		{eventlog.Filter{User: "user_*"}, badUser},
		{eventlog.Filter{User: "user_1.>"}, badUser},
		{eventlog.Filter{Org: "user_1"}, badOrg},
		{eventlog.Filter{Org: "orgmem_1"}, badOrg},
		{eventlog.Filter{Org: "acme"}, badOrg},
		{eventlog.Filter{Org: ">"}, badOrg},
		{eventlog.Filter{Org: "org_" + strings.Repeat("o", 125)}, badOrg},
		{eventlog.Filter{From: 8, To: 7}, `seq "8..7" ends before it begins`},
		{eventlog.Filter{Since: at, Until: at}, "until is not after since: nothing lies between them"},
		{eventlog.Filter{Since: at.Add(1), Until: at}, "until is not after since: nothing lies between them"},
		{eventlog.Filter{Limit: -1}, "limit is negative"},
		{eventlog.Filter{Last: -1}, "last is negative"},
		{eventlog.Filter{Limit: 1, Last: 1}, "limit selects the first events and last the last: give one of them"},
	} {
		err := test.filter.Validate()
		if test.fault == "" {
			require.NoError(t, err, "%+v", test.filter)
		} else {
			require.EqualError(t, err, test.fault)
		}
	}
}

func TestFilterInWords(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("CET", 3600))
	for _, test := range []struct {
		filter eventlog.Filter
		want   string
	}{
		{eventlog.Filter{}, ""},
		{eventlog.Filter{From: 3, To: 9}, "--seq 3..9"},
		{eventlog.Filter{From: 3}, "--seq 3.."},
		{eventlog.Filter{To: 9}, "--seq ..9"},
		{eventlog.Filter{
			Since: at, Until: at.Add(time.Hour), Types: []string{"user.*", "session.ended"}, Entity: "user_1", User: "user_2", Org: "org_3",
			From: 1, To: 2, Origins: clerk.Origins,
		}, "--since 2026-01-02T03:04:05Z --until 2026-01-02T04:04:05Z --type user.*,session.ended --entity user_1 --user user_2 --org org_3 --seq 1..2 --origin webhook --origin backfill --origin reconcile --origin readthrough --origin import --origin probe"},
	} {
		require.Equal(t, test.want, test.filter.String())
		require.Equal(t, test.want == "", test.filter.IsZero())
	}
	require.False(t, (&eventlog.Filter{Limit: 1}).IsZero())
	require.False(t, (&eventlog.Filter{Last: 1}).IsZero())
}
