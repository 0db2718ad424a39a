package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// base is the time of the tests, in Unix milliseconds.
const base = int64(1767225600000)

// row is a row as a JSON object, its times in Unix milliseconds.
type row = map[string]any

// rowsOf reads the rows of a query, each one JSON object, by their clerk_id.
func rowsOf(t require.TestingT, s *store.Store, query string) map[string]row {
	found, err := s.Pool().Query(context.Background(), query)
	require.NoError(t, err)
	defer found.Close()
	rows := map[string]row{}
	for found.Next() {
		var r row
		require.NoError(t, found.Scan(&r))
		for column, value := range r {
			if text, ok := value.(string); ok && strings.HasSuffix(column, "_at") {
				at, err := time.Parse(time.RFC3339Nano, text)
				require.NoError(t, err)
				r[column] = at.UnixMilli()
			}
		}
		rows[r["clerk_id"].(string)] = r
	}
	require.NoError(t, found.Err())
	return rows
}

// users are without their ranks, but each that waits for its address, and no other, has one.
func users(t require.TestingT, s *store.Store) map[string]row {
	rows := rowsOf(t, s, "SELECT to_jsonb(u) FROM users u")
	for id, r := range rows {
		require.Equal(t, r["email"] != r["primary_email"], r["email_rank"] != nil, "%s: %v", id, r)
		delete(r, "email_rank")
	}
	return rows
}

func organizations(t require.TestingT, s *store.Store) map[string]row {
	return rowsOf(t, s, "SELECT to_jsonb(o) FROM organizations o")
}

// memberships have their user's Clerk id as user_id.
func memberships(t require.TestingT, s *store.Store) map[string]row {
	return rowsOf(t, s, `SELECT to_jsonb(m) || jsonb_build_object('user_id', u.clerk_id)
		FROM org_memberships m JOIN users u ON u.id = m.user_id`)
}

// emailsOf returns users.email by Clerk id, of users that hold an address.
func emailsOf(t require.TestingT, s *store.Store) map[string]string {
	held := map[string]string{}
	for id, u := range users(t, s) {
		if u["email"] != nil {
			held[id] = u["email"].(string)
		}
	}
	return held
}

// members are the memberships that have a row.
func members(t require.TestingT, s *store.Store) []string {
	ids := []string{}
	for id := range memberships(t, s) {
		ids = append(ids, id)
	}
	return ids
}

// stubUser is the row of a user of whom only the id is known.
func stubUser(id string) row {
	return row{
		"id": clerk.UUID(id).String(), "clerk_id": id, "email": nil, "primary_email": nil, "email_verified": false, "name": nil,
		"first_name": nil, "last_name": nil, "username": nil, "phone_number": nil, "image_url": nil, "external_id": nil,
		"public_metadata": row{}, "banned": false, "locked": false, "deprovisioned": false, "last_sign_in_at": nil, "raw": nil,
		"created_at": nil, "updated_at": nil, "deleted_at": nil,
	}
}

func stubOrganization(id string) row {
	return row{
		"id": clerk.UUID(id).String(), "clerk_id": id, "name": nil, "slug": nil, "image_url": nil, "created_by": nil,
		"public_metadata": row{}, "raw": nil, "created_at": nil, "updated_at": nil, "deleted_at": nil,
	}
}

// with is a row with some columns changed.
func with(r row, changes row) row {
	for column, value := range changes {
		r[column] = value
	}
	return r
}

func entry(e *clerk.Event) store.Entry { return store.Entry{Change: testkit.Change(e), Seq: 1} }

func entriesOf(events []*clerk.Event) []store.Entry {
	entries := make([]store.Entry, len(events))
	for i, e := range events {
		entries[i] = store.Entry{Change: testkit.Change(e), Seq: uint64(i + 1)}
	}
	return entries
}

// batch applies events in one batch.
func batch(t testing.TB, s *store.Store, events ...*clerk.Event) []store.Outcome {
	t.Helper()
	return apply(t, s, entriesOf(events))
}

// msg makes a svix-id.
func msg(parts ...any) string { return "msg_" + strings.ReplaceAll(fmt.Sprint(parts...), " ", "_") }

// userAt is a user as of a time, in milliseconds after base.
func userAt(at int64, id, email string) *clerk.Event {
	return testkit.Event(msg(id, at), "user.updated", base+at, testkit.UserData(id, email, fmt.Sprint("name ", at), base, base+at))
}

func userDeletedAt(at int64, id string) *clerk.Event {
	return testkit.Event(msg(id, at, "deleted"), "user.deleted", base+at, testkit.DeletedData("user", id))
}

func orgAt(at int64, id string) *clerk.Event {
	return testkit.Event(msg(id, at), "organization.updated", base+at, testkit.OrganizationData(id, fmt.Sprint("name ", at), base, base+at))
}

func orgDeletedAt(at int64, id string) *clerk.Event {
	return testkit.Event(msg(id, at, "deleted"), "organization.deleted", base+at, testkit.DeletedData("organization", id))
}

// joinedAt is a membership of user_1 in org_1, made at a time.
func joinedAt(at int64, id string) *clerk.Event {
	return testkit.Event(msg(id, at), "organizationMembership.created", base+at,
		testkit.MembershipData(id, "user_1", "org_1", "org:member", base+at, base+at))
}

// leftAt is the end of such a membership that was made at created.
func leftAt(at int64, id string, created int64) *clerk.Event {
	return testkit.Event(msg(id, at, "left"), "organizationMembership.deleted", base+at,
		testkit.MembershipData(id, "user_1", "org_1", "org:member", base+created, base+at))
}

// leftBareAt is the same when Clerk sends the id alone.
func leftBareAt(at int64, id string) *clerk.Event {
	return testkit.Event(msg(id, at, "left"), "organizationMembership.deleted", base+at, testkit.DeletedData("organization_membership", id))
}

// inEveryOrder applies the events in every order, one by one and in one batch, and
// checks the rows each time.
func inEveryOrder(t *testing.T, events []*clerk.Event, check func(t require.TestingT, s *store.Store)) {
	t.Helper()
	s := testkit.Store(t)
	entries := entriesOf(events)
	permute(len(entries), func(order []int) {
		for _, together := range []bool{false, true} {
			empty(t, s)
			var arrivals []store.Entry
			for _, i := range order {
				arrivals = append(arrivals, entries[i])
				if !together {
					apply(t, s, entries[i:i+1])
				}
			}
			if together {
				apply(t, s, arrivals)
			}
			check(inOrder{t, fmt.Sprintf("order %v, in one batch: %v", order, together)}, s)
		}
	})
}

// empty removes all rows; with few of them that is faster than to truncate.
func empty(t testing.TB, s *store.Store) {
	t.Helper()
	_, err := s.Pool().Exec(context.Background(),
		"DELETE FROM org_memberships; DELETE FROM users; DELETE FROM organizations; DELETE FROM seats; DELETE FROM entity_heads")
	require.NoError(t, err)
}

// inOrder is a test that tells the order in which it failed.
type inOrder struct {
	*testing.T
	order string
}

func (o inOrder) Errorf(format string, v ...any) {
	o.Helper()
	o.T.Errorf("%s: "+format, append([]any{o.order}, v...)...)
}

// permute calls f with every order of n things.
func permute(n int, f func(order []int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var rec func(k int)
	rec = func(k int) {
		if k == n {
			f(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			rec(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	rec(0)
}
