package fakeclerk_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/fakeclerk"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// hang begins a request that can be given up.
func (i *instance) hang() (<-chan error, context.CancelFunc) {
	server := httptest.NewServer(i)
	i.t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(i.t.Context())
	failed := make(chan error, 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v1/users", nil)
	require.NoError(i.t, err)
	req.Header.Set("Authorization", "Bearer "+i.SecretKey())
	go func() {
		resp, err := server.Client().Do(req)
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	return failed, cancel
}

// TestEvents: every change is an event that clerksync reads, with Clerk's semantics.
func TestEvents(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{CascadeEvents: true})
	ada := i.CreateUser(fakeclerk.User{Email: "ada@example.com", FirstName: "Ada", ExternalID: "crm-1"})
	ben := i.CreateUser(fakeclerk.User{})
	alder, err := i.CreateOrganization(fakeclerk.Organization{Name: "Alder", Slug: "alder", CreatedBy: ada.ID})
	require.NoError(t, err)
	joined, err := i.Join(ben.ID, alder.ID, "org:member")
	require.NoError(t, err)
	_, err = i.Join(ben.ID, alder.ID, "org:member")
	require.ErrorContains(t, err, "is a member")
	promoted, err := i.SetRole(joined.ID, "org:admin")
	require.NoError(t, err)
	require.NoError(t, i.Leave(joined.ID))
	again, err := i.Join(ben.ID, alder.ID, "org:member")
	require.NoError(t, err)
	require.NotEqual(t, joined.ID, again.ID, "a new id for a user that comes back")
	updated, err := i.UpdateUser(ada.ID, func(u *fakeclerk.User) { u.Email, u.ID, u.UpdatedAt = "ada@example.org", "", 0 })
	require.NoError(t, err)
	require.Equal(t, ada.ID, updated.ID)
	require.Greater(t, updated.UpdatedAt, ada.UpdatedAt, "even in the same millisecond")
	_, err = i.UpdateOrganization(alder.ID, func(o *fakeclerk.Organization) { o.Name = "Alder Design" })
	require.NoError(t, err)
	require.NoError(t, i.DeleteUser(ada.ID))
	require.NoError(t, i.DeleteOrganization(alder.ID))

	require.Equal(t, "user.created user.created organization.created organizationMembership.created organizationMembership.created "+
		"organizationMembership.updated organizationMembership.deleted organizationMembership.created user.updated organization.updated "+
		"user.deleted organizationMembership.deleted organization.deleted organizationMembership.deleted", types(i.events))
	seen := map[string]bool{}
	var left *clerk.Change
	for _, e := range i.events {
		require.Regexp(t, `^msg_\w{27}$`, e.ID)
		require.False(t, seen[e.ID], "an id for each")
		seen[e.ID] = true
		envelope, err := clerk.ParseEnvelope(e.Body)
		require.NoError(t, err)
		require.Equal(t, e.Type, envelope.Type)
		require.Equal(t, i.InstanceID(), envelope.InstanceID)
		change, err := clerk.ParseChange(&clerk.Event{ID: e.ID, Body: e.Body, Envelope: envelope})
		require.NoError(t, err)
		if e.Type == "organizationMembership.deleted" && left == nil {
			left = change
			require.JSONEq(t, itoa(promoted.UpdatedAt), string(at(t, e.Body, "data", "updated_at")), "a delete does not raise it")
		}
	}
	deleted := string(i.events[10].Body)
	require.Contains(t, deleted, `"data":{"deleted":true,"external_id":"crm-1","id":"`+ada.ID+`","object":"user"}`)
	require.Empty(t, i.Memberships())
	require.Equal(t, []fakeclerk.User{ben}, i.Users())
	for _, err := range []error{i.DeleteUser(ada.ID), i.Leave(again.ID), i.DeleteOrganization(alder.ID)} {
		require.ErrorIs(t, err, fakeclerk.ErrNotFound)
	}
}

func at(t *testing.T, body []byte, keys ...string) json.RawMessage {
	for _, key := range keys {
		var o map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(body, &o))
		body = o[key]
	}
	return body
}

// TestCascadeWithoutEvents: Clerk may delete memberships without a word.
func TestCascadeWithoutEvents(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	ada := i.CreateUser(fakeclerk.User{})
	_, err := i.CreateOrganization(fakeclerk.Organization{Name: "Alder", Slug: "alder", CreatedBy: ada.ID})
	require.NoError(t, err)
	require.NoError(t, i.DeleteUser(ada.ID))
	require.Equal(t, "user.created organization.created organizationMembership.created user.deleted", types(i.events))
	require.Empty(t, i.Memberships())
	page, _ := i.list("/v1/organizations?include_members_count=true")
	require.Zero(t, *page[0].MembersCount)
}

// TestShapes: the fields that the Backend API has and a webhook has not, and the other way
// round.
func TestShapes(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	ada := i.CreateUser(fakeclerk.User{Email: "ada@example.com", Unverified: true})
	o, err := i.CreateOrganization(fakeclerk.Organization{Name: "Älder \"&\"", Slug: "alder", CreatedBy: ada.ID})
	require.NoError(t, err)
	has := func(o json.RawMessage, key string) bool { return at(t, o, key) != nil }

	event := at(t, i.events[0].Body, "data")
	page := json.RawMessage(i.get("/v1/users/" + ada.ID).Body.Bytes())
	require.False(t, has(event, "requires_password_reset"))
	require.True(t, has(page, "requires_password_reset"))
	var address []map[string]any
	require.NoError(t, json.Unmarshal(at(t, event, "email_addresses"), &address))
	require.Nil(t, address[0]["verification"])
	require.Equal(t, true, address[0]["reserved"])

	event = at(t, i.events[1].Body, "data")
	require.True(t, has(event, "private_metadata") && has(event, "created_by"))
	require.False(t, has(event, "members_count"))
	require.JSONEq(t, `"Älder \"&\""`, string(at(t, event, "name")))
	page = i.get("/v1/organizations/" + o.ID).Body.Bytes()
	require.True(t, has(page, "role_set_key"))
	require.False(t, has(page, "members_count"))

	event = at(t, i.events[2].Body, "data")
	require.False(t, has(event, "private_metadata"))
	inside := at(t, event, "organization")
	require.False(t, has(inside, "private_metadata") || has(inside, "created_by"))
	require.True(t, has(inside, "members_count") && has(inside, "pending_invitations_count"))
	require.JSONEq(t, `"ada@example.com"`, string(at(t, event, "public_user_data", "identifier")))
}

// TestBulk: a million users cost no memory, can be paged, found and be members, and cannot
// be changed.
func TestBulk(t *testing.T) {
	t.Parallel()
	const million = 1_000_000
	i := newInstance(t, fakeclerk.Options{Bulk: million, Seed: 7})
	i.SetTraps(fakeclerk.Traps{Unlimited: true})
	require.JSONEq(t, `{"object":"total_count","total_count":1000000}`, i.get("/v1/users/count").Body.String())
	page := i.users("order_by=created_at&limit=500&offset=999800")
	require.Len(t, page, 200)
	require.Equal(t, page[150:], i.users("order_by=created_at&limit=500&starting_after="+page[149]))
	require.Equal(t, page[199:], i.users("limit=1"))
	require.Equal(t, page[7:8], i.users("user_id="+page[7]))
	require.ErrorIs(t, i.DeleteUser(page[7]), fakeclerk.ErrNotFound)

	o, err := i.CreateOrganization(fakeclerk.Organization{Name: "Alder", Slug: "alder", CreatedBy: page[7]})
	require.NoError(t, err)
	members, _ := i.list("/v1/users/" + page[7] + "/organization_memberships")
	require.Len(t, members, 1)
	_, err = i.Join(page[7], o.ID, "org:member")
	require.ErrorContains(t, err, "is a member")
	created := i.CreateUser(fakeclerk.User{})
	require.Equal(t, []string{created.ID, page[199]}, i.users("limit=2"))

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, offset := range []string{"0", "500000", "999500"} {
		require.Len(t, i.users("limit=500&offset="+offset), 500)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(10<<20))
}

// TestSameSeed: the same seed, clock and calls give the same, byte for byte.
func TestSameSeed(t *testing.T) {
	t.Parallel()
	made := func(seed uint64) ([]fakeclerk.Event, string) {
		i := newInstance(t, fakeclerk.Options{Seed: seed, Bulk: 20})
		i.Populate(50, 5)
		require.Empty(t, i.events)
		for range 200 {
			i.now = i.now.Add(time.Second)
			i.Step()
		}
		return i.events, i.get("/v1/users?limit=500").Body.String()
	}
	events, users := made(1)
	sameEvents, sameUsers := made(1)
	require.Equal(t, events, sameEvents)
	require.Equal(t, users, sameUsers)
	_, otherUsers := made(2)
	require.NotEqual(t, users, otherUsers)
}

// TestSteps: days of small changes leave about as many people, of all kinds of changes.
func TestSteps(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{CascadeEvents: true})
	i.Populate(200, 12)
	require.Len(t, i.Users(), 200)
	require.Len(t, i.Organizations(), 12)
	require.Greater(t, len(i.Memberships()), 100)
	kinds := map[string]int{}
	for range 2000 {
		i.now = i.now.Add(time.Second)
		i.Step()
		people := len(i.Users())
		require.True(t, people >= 175 && people <= 225, "%d people", people)
	}
	for _, e := range i.events {
		kinds[e.Type]++
		envelope, err := clerk.ParseEnvelope(e.Body)
		require.NoError(t, err)
		require.LessOrEqual(t, envelope.EventAt, i.now.UnixMilli(), "no event is from the future")
	}
	// The events tell all: after the last of each object, the same objects are left.
	left := map[string]int64{}
	for _, e := range i.events {
		var id string
		require.NoError(t, json.Unmarshal(at(t, e.Body, "data", "id"), &id))
		delete(left, id)
		if strings.HasSuffix(e.Type, ".deleted") {
			continue
		}
		var updatedAt int64
		require.NoError(t, json.Unmarshal(at(t, e.Body, "data", "updated_at"), &updatedAt))
		left[id] = updatedAt
	}
	agree := func(id string, updatedAt int64) {
		if told, ok := left[id]; ok || updatedAt > day.UnixMilli() { // else as Populate made it
			require.Equal(t, updatedAt, told, id)
			delete(left, id)
		}
	}
	for _, u := range i.Users() {
		agree(u.ID, u.UpdatedAt)
	}
	for _, o := range i.Organizations() {
		agree(o.ID, o.UpdatedAt)
	}
	for _, m := range i.Memberships() {
		agree(m.ID, m.UpdatedAt)
	}
	require.Empty(t, left)
	require.Len(t, kinds, 7, "all of users and memberships, and organization.updated: %v", kinds)
	require.Less(t, len(i.Memberships()), 1000)
}

// TestRestore: an instance goes on where it was saved.
func TestRestore(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{Seed: 3, SecretKey: "sk_test_kept"})
	i.Populate(30, 3)
	saved := i.Save()
	restored, err := fakeclerk.Restore(fakeclerk.Options{Seed: 3, Now: func() time.Time { return day }}, saved)
	require.NoError(t, err)
	require.Equal(t, saved, restored.Save())
	require.Equal(t, i.Users(), restored.Users())
	require.Equal(t, i.Memberships(), restored.Memberships())
	require.Equal(t, "sk_test_kept", restored.SecretKey())
	require.NotContains(t, string(saved), restored.CreateUser(fakeclerk.User{}).ID)
	renamed, err := fakeclerk.Restore(fakeclerk.Options{InstanceID: "ins_mine"}, saved)
	require.NoError(t, err)
	require.Equal(t, "ins_mine", renamed.InstanceID())
	_, err = fakeclerk.Restore(fakeclerk.Options{}, []byte("{"))
	require.ErrorContains(t, err, "read saved instance: ")
}

// BenchmarkUsers pages through a million users: the price of the fake in a benchmark of
// its client.
func BenchmarkUsers(b *testing.B) {
	c := fakeclerk.New(fakeclerk.Options{Bulk: 1_000_000})
	c.SetTraps(fakeclerk.Traps{Unlimited: true})
	offset := 0
	for b.Loop() {
		req := httptest.NewRequest("GET", "/v1/users?order_by=created_at&limit=500&offset="+strconv.Itoa(offset%1_000_000), nil)
		req.Header.Set("Authorization", "Bearer "+c.SecretKey())
		w := httptest.NewRecorder()
		c.ServeHTTP(w, req)
		b.SetBytes(int64(w.Body.Len()))
		offset += 500
	}
	b.ReportMetric(500*float64(b.N)/b.Elapsed().Seconds(), "users/s")
}
