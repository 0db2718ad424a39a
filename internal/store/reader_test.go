package store_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// readAs runs f in a transaction that has a role and settings, all made by one statement,
// as PostgREST does it, and none of the planner settings of the store.
func readAs(t require.TestingT, s *store.Store, role string, settings map[string]string, f func(tx pgx.Tx)) {
	ctx := context.Background()
	tx, err := s.Pool().Begin(ctx)
	require.NoError(t, err)
	defer tx.Rollback(ctx) // nothing was written
	_, err = tx.Exec(ctx, "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on; SET LOCAL join_collapse_limit = 8")
	require.NoError(t, err)
	names, values := []string{}, []string{}
	for name, value := range settings {
		names, values = append(names, name), append(values, value)
	}
	_, err = tx.Exec(ctx, "SELECT set_config(name, value, true) FROM unnest($1::text[], $2::text[]) AS s (name, value)",
		append(names, "role"), append(values, role))
	require.NoError(t, err)
	f(tx)
}

// list runs a query, and returns its rows as text, sorted.
func list(t require.TestingT, tx pgx.Tx, query string, args ...any) []string {
	rows, err := tx.Query(context.Background(), "SELECT q::text FROM ("+query+") AS q", args...)
	require.NoError(t, err, query)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err, query)
	slices.Sort(lines)
	return lines
}

// identity is who asks, by Clerk ids.
type identity struct{ user, org string }

// asker is a transaction's settings, and the identity that they give.
type asker struct {
	settings map[string]string
	is       identity
}

// askers draws settings of every kind: in one of four cases they are malformed or
// contradictory, and give no identity.
func askers(users, orgs []string) *rapid.Generator[asker] {
	const token, user, org = "request.jwt.claims", "clerk.user_id", "clerk.org_id"
	return rapid.Custom(func(t *rapid.T) asker {
		id := identity{rapid.SampledFrom(users).Draw(t, "user"), rapid.SampledFrom(append([]string{""}, orgs...)).Draw(t, "org")}
		claims := func(more testkit.Object) string {
			c := testkit.Object{"sub": id.user, "v": 2}
			if id.org != "" {
				c["o"] = testkit.Object{"id": id.org, "rol": "admin"}
			}
			maps.Copy(c, more)
			text, err := json.Marshal(c)
			require.NoError(t, err)
			return string(text)
		}
		version1, err := json.Marshal(testkit.Object{"sub": id.user, "org_id": id.org, "org_role": "org:admin"})
		require.NoError(t, err)
		if rapid.IntRange(0, 3).Draw(t, "valid") > 0 {
			return rapid.SampledFrom([]asker{
				{map[string]string{token: string(version1)}, id},
				{map[string]string{token: claims(nil)}, id},
				{map[string]string{user: id.user, org: id.org}, id},
				{map[string]string{user: id.user, org: id.org, token: ""}, id}, // as a transaction before left it
				{map[string]string{user: id.user, org: id.org, token: claims(nil)}, id},
			}).Draw(t, "settings")
		}
		broken := rapid.SampledFrom(malformed).Draw(t, "malformed")
		return rapid.SampledFrom([]asker{
			{map[string]string{}, identity{}},
			{map[string]string{user: "", org: "", token: ""}, identity{}},
			{map[string]string{org: id.org}, identity{org: id.org}},
			{map[string]string{token: `{"role":"anon"}`}, identity{}},
			{map[string]string{token: broken}, identity{}},
			{map[string]string{user: id.user, org: id.org, token: broken}, identity{}},
			{map[string]string{token: claims(testkit.Object{"sts": "pending"})}, identity{}},
			{map[string]string{token: claims(testkit.Object{"o": testkit.Object{"id": "org_1"}, "org_id": "org_2"})}, identity{}},
			{map[string]string{user: "user_other", org: id.org, token: claims(nil)}, identity{}},
			{map[string]string{user: id.user, org: "org_other", token: claims(nil)}, identity{}},
		}).Draw(t, "settings")
	})
}

// malformed are claims that name nobody. Most are no JSON object.
var malformed = []string{
	`{`, `{"sub":"user_0"`, `{"sub":"user_0"}}`, `user_0`, `null`, `"user_0"`, `[{"sub":"user_0"}]`, `{"sub":null}`,
	`{"sub":"user_0\u0000"}`, `{"sub":"user_0","x":"\ud800"}`, `{"sub":"user_0","x":1e999999}`, strings.Repeat("[", 100_000), ` `, `{"user":"user_0"}`,
}

// world is all that the tables hold, read by a superuser.
type world struct {
	users, organizations map[string]row
	memberships          map[string]row // user_id is a Clerk id
}

// allowed is what one identity may see: Clerk ids, sorted.
type allowed struct {
	active                   bool
	org                      string // of which the user is a member
	users, orgs, memberships []string
	roleIn                   map[string]string // of the user, by organization
}

func (w world) allow(id identity) allowed {
	a := allowed{users: []string{}, orgs: []string{}, memberships: []string{}, roleIn: map[string]string{}}
	me, ok := w.users[id.user]
	if !ok || me["deleted_at"] != nil || me["banned"] == true || me["deprovisioned"] == true {
		return a
	}
	a.active = true
	for _, m := range w.memberships {
		if m["user_id"] == id.user {
			a.roleIn[m["org_id"].(string)] = m["role"].(string)
		}
	}
	if _, in := a.roleIn[id.org]; in {
		a.org = id.org
	}
	seen := map[string]bool{id.user: true}
	for clerkID, m := range w.memberships {
		current := a.org != "" && m["org_id"] == a.org
		if current {
			seen[m["user_id"].(string)] = true
		}
		if current || m["user_id"] == id.user {
			a.memberships = append(a.memberships, clerkID)
		}
	}
	for user := range seen {
		if w.users[user]["deleted_at"] == nil {
			a.users = append(a.users, user)
		}
	}
	for org := range a.roleIn {
		if w.organizations[org]["deleted_at"] == nil {
			a.orgs = append(a.orgs, org)
		}
	}
	slices.Sort(a.users)
	slices.Sort(a.orgs)
	slices.Sort(a.memberships)
	return a
}

// isMember is the model of the function: roles without their prefix.
func (a allowed) isMember(org string, roles []string) bool {
	role, in := a.roleIn[org]
	plain := func(role string) string { return strings.TrimPrefix(role, "org:") }
	return in && (len(roles) == 0 || slices.ContainsFunc(roles, func(r string) bool { return plain(r) == plain(role) }))
}

// crowd draws events of a few people in a few organizations, most of them in several, of
// whom some are banned or deleted.
func crowd(users, orgs []string) *rapid.Generator[[]*clerk.Event] {
	return rapid.Custom(func(t *rapid.T) []*clerk.Event {
		var events []*clerk.Event
		some := func(of int, what string) bool { return rapid.IntRange(1, of).Draw(t, what) == 1 }
		for _, user := range users {
			data := testkit.UserData(user, user+"@example.com", user, base, base)
			for _, flag := range []string{"banned", "locked", "deprovisioned"} {
				data[flag] = some(15, flag)
			}
			events = append(events, testkit.Event(msg(user), "user.created", base, data))
		}
		for _, org := range orgs {
			events = append(events, orgAt(0, org))
			for _, user := range users {
				if some(2, "joins") {
					id := "orgmem_" + user + org
					role := rapid.SampledFrom([]string{"org:admin", "org:member", "admin", "org:sales:lead"}).Draw(t, "role")
					events = append(events, testkit.Event(msg(id), "organizationMembership.created", base+1, testkit.MembershipData(id, user, org, role, base, base)))
				}
			}
		}
		for _, user := range users {
			if some(6, "user deleted") {
				events = append(events, userDeletedAt(2, user))
			}
		}
		for _, org := range orgs {
			if some(6, "org deleted") {
				events = append(events, orgDeletedAt(2, org))
			}
		}
		return events
	})
}

// TestReaderSeesOneTenant: whatever it asks for, without any WHERE, the role that reads
// gets the rows that the model allows its identity, and no other; those that are gone are
// not in the next statement.
func TestReaderSeesOneTenant(t *testing.T) {
	t.Parallel()
	s := testkit.OpenStore(t, testkit.RLSDatabaseURL(t))
	inherits := roleFor(t, s, "inherits", "GRANT clerk_reader TO %[1]s")
	users, orgs := []string{"user_0", "user_1", "user_2", "user_3"}, []string{"org_1", "org_2", "org_3"}
	rapid.Check(t, func(r *rapid.T) {
		empty(t, s)
		apply(r, s, entriesOf(crowd(users, orgs).Draw(r, "crowd")))
		drawn := askers(append(users, "user_unknown"), append(orgs, "org_unknown")).Draw(r, "asker")
		role := rapid.SampledFrom([]string{"clerk_reader", inherits}).Draw(r, "role")
		gone := rapid.SampledFrom([]string{"nothing", "membership", "ban", "user", "organization"}).Draw(r, "gone")
		readAs(r, s, role, drawn.settings, func(tx pgx.Tx) {
			requireAllowed(r, s, tx, drawn.is)
			switch gone {
			case "membership":
				edit(r, s, "DELETE FROM org_memberships WHERE user_id = $1 AND org_id = $2", clerk.UUID(drawn.is.user), drawn.is.org)
			case "ban":
				edit(r, s, "UPDATE users SET banned = true WHERE clerk_id = $1", drawn.is.user)
			case "user":
				apply(r, s, []store.Entry{entry(userDeletedAt(9, "user_1"))})
			case "organization":
				apply(r, s, []store.Entry{entry(orgDeletedAt(9, "org_1"))})
			}
			requireAllowed(r, s, tx, drawn.is)
		})
	})
}

// requireAllowed compares what a transaction reads with the model.
func requireAllowed(t require.TestingT, s *store.Store, tx pgx.Tx, id identity) {
	w := world{users(t, s), organizations(t, s), memberships(t, s)}
	a := w.allow(id)
	quoted := func(ids []string) []string {
		lines := []string{}
		for _, id := range ids {
			lines = append(lines, "("+id+")")
		}
		return lines
	}
	for query, want := range map[string][]string{
		"SELECT clerk_id FROM users":                                                                          a.users,
		"SELECT clerk_id FROM organizations":                                                                  a.orgs,
		"SELECT clerk_id FROM org_memberships":                                                                a.memberships,
		"SELECT clerk_id FROM users WHERE deleted_at IS NOT NULL OR true":                                     a.users,
		"SELECT clerk_id FROM users WHERE clerk_id LIKE 'user%'":                                              a.users,
		"SELECT DISTINCT u.clerk_id FROM users u CROSS JOIN users v":                                          a.users,
		"SELECT u.clerk_id FROM org_memberships m RIGHT JOIN users u ON u.id = m.user_id GROUP BY u.clerk_id": a.users,
	} {
		require.Equal(t, quoted(want), list(t, tx, query), query)
	}
	joined := []string{}
	for clerkID, m := range w.memberships {
		user, org := m["user_id"].(string), m["org_id"].(string)
		if slices.Contains(a.memberships, clerkID) && slices.Contains(a.users, user) && slices.Contains(a.orgs, org) {
			joined = append(joined, fmt.Sprintf("(%s,%s,%s)", user, org, m["role"]))
		}
	}
	slices.Sort(joined)
	require.Equal(t, joined, list(t, tx, `SELECT u.clerk_id, o.clerk_id AS org, m.role FROM users u
		JOIN org_memberships m ON m.user_id = u.id JOIN organizations o ON o.clerk_id = m.org_id`))
	require.Equal(t, []string{fmt.Sprintf("(%d,%d,%d)", len(a.users), len(a.orgs), len(a.memberships))},
		list(t, tx, "SELECT (SELECT count(*) FROM users), (SELECT count(DISTINCT id) FROM organizations), (SELECT count(*) FROM org_memberships)"))

	var gotUser, gotOrg, memberOrg string
	var uuid *string
	var active bool
	require.NoError(t, tx.QueryRow(context.Background(), `SELECT coalesce(current_user_id(), ''), coalesce(current_org_id(), ''),
		active_user_uuid()::text, coalesce(member_org_id(), ''), is_active_user()`).Scan(&gotUser, &gotOrg, &uuid, &memberOrg, &active))
	require.Equal(t, id, identity{gotUser, gotOrg})
	require.Equal(t, a.active, active)
	require.Equal(t, a.active, uuid != nil)
	if uuid != nil {
		require.Equal(t, clerk.UUID(id.user).String(), *uuid)
	}
	require.Equal(t, a.org, memberOrg)
	for org := range w.organizations {
		for _, roles := range [][]string{{}, {"admin"}, {"org:admin"}, {"nobody", "member"}, {"sales:lead"}, {"org:sales:lead"}, {"lead"}, {""}} {
			var member bool
			require.NoError(t, tx.QueryRow(context.Background(), "SELECT is_member($1, VARIADIC $2::text[])", org, roles).Scan(&member))
			require.Equal(t, a.isMember(org, roles), member, "%s %v", org, roles)
		}
	}
}

// roleFor makes a role that is there for the test.
func roleFor(t *testing.T, s *store.Store, prefix, then string) string {
	t.Helper()
	role := prefix + "_" + s.Pool().Config().ConnConfig.Database
	edit(t, s, "CREATE ROLE "+role)
	t.Cleanup(func() { edit(t, s, fmt.Sprintf("DROP OWNED BY %s; DROP ROLE %[1]s", role)) })
	edit(t, s, fmt.Sprintf(then, role))
	return role
}
