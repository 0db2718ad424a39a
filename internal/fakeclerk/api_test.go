package fakeclerk_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/fakeclerk"
)

func TestKey(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	require.Regexp(t, `^sk_test_\w{27}$`, i.SecretKey())
	for _, path := range []string{"/v1/users", "/v1/no/such/path"} {
		i.refused(i.ask("GET", path, ""), 401, "authorization_header_format_invalid")
		i.refused(i.ask("GET", path, i.SecretKey()), 401, "authorization_header_format_invalid")
		i.refused(i.ask("GET", path, "Bearer sk_test_another"), 401, "clerk_key_invalid")
	}
	i.refused(i.get("/v1/no/such/path"), 404, "resource_not_found")
	require.Zero(t, i.Stats().Limited)
	require.Equal(t, 1, i.Stats().Requests, "those without the key do not count")
}

func TestInstance(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	require.Regexp(t, `^ins_\w{27}$`, i.InstanceID())
	require.JSONEq(t, `{"object":"instance","id":"`+i.InstanceID()+`","environment_type":"development","allowed_origins":null,"workspace_id":null}`,
		i.get("/v1/instance").Body.String())

	production := newInstance(t, fakeclerk.Options{InstanceID: "ins_mine", SecretKey: "sk_live_synthetic"})
	require.JSONEq(t, `{"object":"instance","id":"ins_mine","environment_type":"production","allowed_origins":null,"workspace_id":null}`,
		production.get("/v1/instance").Body.String())
}

func TestSvixURL(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	first := i.ask("POST", "/v1/webhooks/svix_url", "Bearer "+i.SecretKey())
	require.Regexp(t, `^\{"svix_url":"https://app\.svix\.com/login#key=[\w+/]+=*"\}$`, first.Body.String())
	second := i.ask("POST", "/v1/webhooks/svix_url", "Bearer "+i.SecretKey())
	require.NotEqual(t, first.Body.String(), second.Body.String(), "it logs in once")
	i.SetTraps(fakeclerk.Traps{NoWebhooks: true})
	i.refused(i.ask("POST", "/v1/webhooks/svix_url", "Bearer "+i.SecretKey()), 400, "svix_app_missing")
}

// TestUsersAreABareArray: the other lists are wrapped and have a total.
func TestUsersAreABareArray(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	require.Equal(t, "[]", i.get("/v1/users").Body.String())
	u := i.people(1)[0]
	o, err := i.CreateOrganization(fakeclerk.Organization{Name: "Alder", Slug: "alder", CreatedBy: u})
	require.NoError(t, err)
	m := i.Memberships()[0].ID

	require.Equal(t, []string{u}, i.users(""))
	for path, want := range map[string]string{
		"/v1/organizations":                            o.ID,
		"/v1/organization_memberships":                 m,
		"/v1/organizations/" + o.ID + "/memberships":   m,
		"/v1/users/" + u + "/organization_memberships": m,
	} {
		page, total := i.list(path)
		require.Equal(t, []string{want}, ids(page), path)
		require.Equal(t, 1, total, path)
	}
	require.JSONEq(t, `{"object":"total_count","total_count":1}`, i.get("/v1/users/count").Body.String())
}

func TestOne(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	u := i.people(1)[0]
	o, err := i.CreateOrganization(fakeclerk.Organization{Name: "Alder", Slug: "alder"})
	require.NoError(t, err)
	var got object
	i.decode("/v1/users/"+u, &got)
	require.Equal(t, u, got.ID)
	i.decode("/v1/organizations/alder", &got)
	require.Equal(t, o.ID, got.ID)
	require.Nil(t, got.MembersCount)
	i.decode("/v1/organizations/"+o.ID+"?include_members_count=true", &got)
	require.Zero(t, *got.MembersCount)
	for _, path := range []string{"users/user_none", "users/user_none/organization_memberships", "organizations/org_none", "organizations/org_none/memberships"} {
		i.refused(i.get("/v1/"+path), 404, "resource_not_found")
	}
}

// TestLimit: a limit over 500 is ignored without a word.
func TestLimit(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{Bulk: 2000})
	require.Len(t, i.users(""), 10)
	require.Len(t, i.users("limit=500"), 500)
	require.Len(t, i.users("limit=501"), 10)
	i.refused(i.get("/v1/users?limit=0"), 422, "form_param_value_invalid")
	i.refused(i.get("/v1/users?limit=ten"), 422, "form_param_value_invalid")
	i.refused(i.get("/v1/users?offset=-1"), 422, "form_param_value_invalid")
	i.refused(i.get("/v1/users?page=2"), 422, "form_param_unknown")
}

func TestCursor(t *testing.T) {
	t.Parallel()
	for name, bulk := range map[string]int{"created": 0, "bulk": 23} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInstance(t, fakeclerk.Options{Bulk: bulk})
			i.SetTraps(fakeclerk.Traps{Unlimited: true})
			created := i.people(17)
			i.now = i.now.Add(-time.Hour) // several in one millisecond, and a clock that goes back
			created = append(created, i.CreateUser(fakeclerk.User{}).ID, i.CreateUser(fakeclerk.User{}).ID)
			var oldest []string
			for limit := 1; limit < 9; limit++ {
				oldest = i.walk("order_by=%2Bcreated_at", limit)
				require.Len(t, oldest, bulk+19)
				require.Equal(t, created, oldest[bulk:])
				require.Equal(t, oldest, i.walk("order_by=created_at", limit))
				newest := i.walk("", limit)
				require.Equal(t, newest, i.walk("order_by=-created_at", limit))
				slices.Reverse(newest)
				require.Equal(t, oldest, newest)
			}
			for _, id := range oldest {
				require.Regexp(t, `^user_\w{27}$`, id)
			}
			require.True(t, slices.IsSorted(oldest[bulk:bulk+17]), "ids sort by the second of their creation")

			last := oldest[len(oldest)-1]
			i.refused(i.get("/v1/users?order_by=-updated_at&starting_after="+last), 422, "form_param_value_invalid")
			i.refused(i.get("/v1/users?offset=1&starting_after="+last), 422, "form_param_value_invalid")
			i.refused(i.get("/v1/users?starting_after=user_none"), 404, "resource_not_found")
			i.refused(i.get("/v1/users?order_by=height"), 422, "form_param_value_invalid")
		})
	}
}

func TestCursorOfADeletedUser(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	all := i.people(4)
	require.NoError(t, i.DeleteUser(all[1]))
	require.Equal(t, all[2:], i.users("order_by=created_at&starting_after="+all[1]))
	require.Equal(t, all[:1], i.users("starting_after="+all[1]))
	i.SetTraps(fakeclerk.Traps{ForgetCursor: true})
	i.refused(i.get("/v1/users?starting_after="+all[1]), 404, "resource_not_found")
}

// TestSegments: segments by creation time leave their bounds out.
func TestSegments(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{Bulk: 50})
	i.SetTraps(fakeclerk.Traps{Unlimited: true})
	i.people(30)
	var all []object
	i.decode("/v1/users?order_by=created_at&limit=500", &all)
	require.Len(t, all, 80)
	for _, from := range []int64{0, all[7].CreatedAt, all[49].CreatedAt, all[60].CreatedAt} {
		for _, to := range []int64{all[8].CreatedAt, all[49].CreatedAt + 1, all[70].CreatedAt, 1 << 50} {
			want := []string{}
			for _, u := range all {
				if u.CreatedAt > from && u.CreatedAt < to {
					want = append(want, u.ID)
				}
			}
			segment := "created_at_after=" + itoa(from) + "&created_at_before=" + itoa(to)
			require.Equal(t, want, append([]string{}, i.walk("order_by=created_at&"+segment, 7)...))
			require.JSONEq(t, `{"object":"total_count","total_count":`+itoa(int64(len(want)))+`}`, i.get("/v1/users/count?"+segment).Body.String())
		}
	}
}

// TestFilterByID: 100 ids a request; those that do not exist are left out.
func TestFilterByID(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{Bulk: 90})
	i.people(20)
	all := i.walk("order_by=created_at", 500)
	require.NoError(t, i.DeleteUser(all[100]))
	require.Equal(t, all[20:100], i.users("order_by=created_at&limit=500&"+values("user_id", append(all[20:101:101], "user_none", all[20]))))
	require.Equal(t, []string{all[3]}, i.users("user_id=%2B"+all[3]))
	require.Equal(t, []string{all[3]}, i.users("user_id=+"+all[3]))
	require.Empty(t, i.users("user_id=user_none"))
	require.Len(t, i.users(values("user_id", all[:100])), 10, "the limit holds here, too")
	i.refused(i.get("/v1/users?"+values("user_id", all[:101])), 422, "form_param_value_invalid")

	o, err := i.CreateOrganization(fakeclerk.Organization{Name: "Alder", Slug: "alder"})
	require.NoError(t, err)
	page, total := i.list("/v1/organizations?include_members_count=true&" + values("organization_id", []string{"org_none", o.ID}))
	require.Equal(t, []string{o.ID}, ids(page))
	require.Equal(t, 1, total)
	require.Zero(t, *page[0].MembersCount)
}

// TestByLatestUpdate: what changed last comes first, before all of the bulk.
func TestByLatestUpdate(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{Bulk: 30})
	all := i.people(3)
	i.now = i.now.Add(time.Second)
	_, err := i.UpdateUser(all[1], func(u *fakeclerk.User) { u.LastSignIn = i.now.UnixMilli() })
	require.NoError(t, err)
	page := i.users("order_by=-updated_at&limit=500")
	require.Equal(t, []string{all[1], all[2], all[0]}, page[:3])
	require.Len(t, page, 33)
}

// TestOffsetDrift: an offset counts rows that come and go, so that pages skip and repeat.
func TestOffsetDrift(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	all := i.people(10)
	first := i.users("order_by=created_at&limit=4")
	require.NoError(t, i.DeleteUser(all[0]))
	require.Equal(t, all[5:9], i.users("order_by=created_at&limit=4&offset=4"), "all[4] is skipped")
	require.Equal(t, all[:4], first)

	newest := i.users("limit=4")
	added := i.people(1)
	require.Equal(t, newest[3], i.users("limit=4&offset=4")[0], "repeated")
	require.Equal(t, added, i.users("limit=1"))
	require.Empty(t, i.users("offset=1000"))
}

// TestChangesWhilePagesAreRead: the instance can change before a page is read, and after,
// so that the page is outdated when it arrives.
func TestChangesWhilePagesAreRead(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	all := i.people(4)
	i.SetTraps(fakeclerk.Traps{
		BeforeRead: func(*http.Request) { require.NoError(t, i.DeleteUser(all[0])); all = all[1:] },
		AfterRead:  func(*http.Request) { require.NoError(t, i.DeleteUser(all[0])); all = all[1:] },
	})
	before := slices.Clone(all)
	require.Equal(t, before[1:], i.users("order_by=created_at"))
	require.Equal(t, before[3:], i.users("order_by=created_at"))
	require.Empty(t, i.Users())
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	for key, limit := range map[string]int{"sk_test_synthetic": 100, "sk_live_synthetic": 1000} {
		i := newInstance(t, fakeclerk.Options{SecretKey: key})
		status := func() int { return i.get("/v1/instance").Code }
		for range limit {
			require.Equal(t, 200, status())
		}
		w := i.get("/v1/users")
		i.refused(w, 429, "too_many_requests")
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		i.now = i.now.Add(time.Second)
		for range limit / 10 {
			require.Equal(t, 200, status())
		}
		require.Equal(t, 429, status())
		require.Equal(t, fakeclerk.Stats{Requests: limit + limit/10 + 2, Limited: 2, Busiest: limit + limit/10 + 2}, i.Stats())

		i.now = i.now.Add(fakeclerk.RateWindow)
		for range limit {
			require.Equal(t, 200, status())
		}
		require.Equal(t, limit+limit/10+2, i.Stats().Busiest)
		i.SetTraps(fakeclerk.Traps{Unlimited: true})
		require.Equal(t, 200, status())
	}
}

// TestUnresolvedKey: a key whose instance cannot be resolved.
func TestUnresolvedKey(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	i.SetTraps(fakeclerk.Traps{Unresolved: true})
	for _, path := range []string{"/v1/users", "/v1/instance", "/v1/users/count"} {
		i.refused(i.get(path), 404, "resource_not_found")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	i.people(5)
	whole := i.get("/v1/users").Body.String()
	get := i.serve()
	next := fakeclerk.NoFault
	i.SetTraps(fakeclerk.Traps{Fault: func(*http.Request) fakeclerk.Fault { return next }})

	resp, body, err := get("/v1/users")
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, whole, string(body))

	next = fakeclerk.TooMany
	resp, _, err = get("/v1/users")
	require.NoError(t, err)
	require.Equal(t, 429, resp.StatusCode)
	require.Equal(t, "1", resp.Header.Get("Retry-After"))

	next = fakeclerk.InternalError
	resp, body, err = get("/v1/users")
	require.NoError(t, err)
	require.Equal(t, 500, resp.StatusCode)
	require.Contains(t, string(body), "internal_clerk_error")

	next = fakeclerk.BadGateway
	resp, body, err = get("/v1/users")
	require.NoError(t, err)
	require.Equal(t, 502, resp.StatusCode)
	require.True(t, strings.HasPrefix(string(body), "<html>"))

	next = fakeclerk.Truncated
	resp, body, err = get("/v1/users")
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, whole[:len(whole)/2], string(body))

	next = fakeclerk.Cut
	_, _, err = get("/v1/users")
	require.ErrorContains(t, err, "unexpected EOF")
}

// TestSlowPages: an answer that takes its time, and one that never comes.
func TestSlowPages(t *testing.T) {
	t.Parallel()
	i := newInstance(t, fakeclerk.Options{})
	get := i.serve()
	i.SetTraps(fakeclerk.Traps{Delay: 50 * time.Millisecond})
	started := time.Now()
	resp, _, err := get("/v1/users")
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.GreaterOrEqual(t, time.Since(started), 50*time.Millisecond)

	reached := make(chan struct{})
	i.SetTraps(fakeclerk.Traps{Fault: func(*http.Request) fakeclerk.Fault { close(reached); return fakeclerk.Hang }})
	hung, cancel := i.hang()
	<-reached
	cancel()
	require.Error(t, <-hung)
}
