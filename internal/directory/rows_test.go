package directory_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestProfile: the user of the token with the memberships, whatever organization is
// selected.
func TestProfile(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	created := time.UnixMilli(at).UTC()
	text := func(s string) *string { return &s }
	for _, org := range [][]string{nil, {"org_1", "admin"}, {"org_unknown", "admin"}} {
		got := decode[store.Profile](t, a.get("/api/profile", a.issuer.Session("user_ada", org...)))
		require.Equal(t, store.Profile{
			ID: "user_ada", Email: text("ada@example.com"), EmailVerified: true, Name: text("Ada"), FirstName: text("Ada"),
			PublicMetadata: []byte("{}"), CreatedAt: &created, UpdatedAt: &created,
			Memberships: []store.ProfileMembership{
				{
					Membership:   store.Membership{ID: "orgmem_1", Role: "org:admin", Permissions: []string{"org:sys_memberships:read"}, CreatedAt: &created},
					Organization: store.OrganizationSummary{ID: "org_1", Name: text("First"), Slug: text("slug")},
				},
				{
					Membership:   store.Membership{ID: "orgmem_4", Role: "org:member", Permissions: []string{"org:sys_memberships:read"}, CreatedAt: &created},
					Organization: store.OrganizationSummary{ID: "org_2", Name: text("Second"), Slug: text("slug")},
				},
			},
		}, got)
	}
}

// TestOrganization: that of the token, and the user's membership.
func TestOrganization(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	for org, want := range map[string]string{"org_1": "First org:admin", "org_2": "Second org:member"} {
		got := decode[store.Organization](t, a.get("/api/organization", a.issuer.Session("user_ada", org, "admin")))
		require.Equal(t, org, got.ID)
		require.Equal(t, want, *got.Name+" "+got.Membership.Role)
	}
}

// page is a page of members.
type page struct {
	Members    []store.Member `json:"members"`
	NextCursor *string        `json:"next_cursor"`
}

// TestMembers: the pages together have every member of the organization once, and of no
// other; roles and searches select among them.
func TestMembers(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	names := map[string]string{"a": "50% Off", "b": "Snake_Case", "c": `Back\Slash`, "d": "Plain", "e": "Éva"}
	for key, name := range names {
		a.apply(user("user_"+key, key+"@Mail.example", name), membership("orgmem_1"+key, "user_"+key, "org_1", "basic_member"))
	}
	token := a.issuer.Session("user_ada", "org_1", "admin")
	list := func(query string) (ids []string) {
		t.Helper()
		cursor := ""
		for {
			p := decode[page](t, a.get("/api/organization/members?"+query+cursor, token))
			for _, m := range p.Members {
				ids = append(ids, m.ID)
			}
			if p.NextCursor == nil {
				return ids
			}
			cursor = "&cursor=" + *p.NextCursor
		}
	}
	everybody := []string{"orgmem_1", "orgmem_1a", "orgmem_1b", "orgmem_1c", "orgmem_1d", "orgmem_1e", "orgmem_2"}
	for limit := 1; limit <= len(everybody)+1; limit++ {
		require.Equal(t, everybody, list("limit="+strconv.Itoa(limit)), limit)
	}
	for query, want := range map[string][]string{
		"role=admin":                     {"orgmem_1"},
		"role=org:admin":                 {"orgmem_1"},
		"role=org:admin&role=org:member": {"orgmem_1", "orgmem_2"},
		"role=org:basic_member&limit=2":  everybody[1:6],
		"role=org:owner":                 nil,
		"search=ADA":                     {"orgmem_1"},
		"search=ada%40example":           {"orgmem_1"},
		"search=mail.EXAMPLE&limit=1":    everybody[1:6],
		"search=%25":                     {"orgmem_1a"},
		"search=_":                       {"orgmem_1b"},
		"search=%5C":                     {"orgmem_1c"},
		"search=%C3%89va":                {"orgmem_1e"},
		"search=eve":                     nil, // of the other organization
		"search=bob&role=admin":          nil,
		"search=":                        everybody,
		"role=":                          everybody,
	} {
		require.Equal(t, want, list(query), query)
	}
	text := func(s string) *string { return &s }
	created := time.UnixMilli(at).UTC()
	require.Equal(t, []store.Member{{
		ID: "orgmem_2", Role: "org:member", CreatedAt: &created,
		User: store.Person{ID: "user_bob", Name: text("Bob"), FirstName: text("Bob"), Email: text("bob@example.com")},
	}}, decode[page](t, a.get("/api/organization/members?search=bob", token)).Members)

	// A cursor of another organization leads nowhere else.
	first := decode[page](t, a.get("/api/organization/members?limit=1", token))
	second := decode[page](t, a.get("/api/organization/members?cursor="+*first.NextCursor, a.issuer.Session("user_eve", "org_2", "member")))
	for _, m := range second.Members {
		require.Contains(t, []string{"orgmem_3", "orgmem_4"}, m.ID)
	}
}

// TestAnswersHaveNothingPrivate: neither raw nor private metadata is in any answer.
func TestAnswersHaveNothingPrivate(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	data := testkit.UserData("user_ada", "ada@example.com", "Ada", at, at)
	data["private_metadata"], data["unsafe_metadata"], data["public_metadata"] = testkit.Object{"k": "PRIVATE"}, testkit.Object{"k": "PRIVATE"}, testkit.Object{"k": "open"}
	a.apply(testkit.Event("msg_1", "user.created", at, data))
	a.apply(organization("org_1", "First"), membership("orgmem_1", "user_ada", "org_1", "org:admin"))
	for _, path := range []string{"/api/profile", "/api/organization", "/api/organization/members"} {
		r := a.get(path, a.issuer.Session("user_ada", "org_1", "admin"))
		require.Equal(t, 200, r.StatusCode)
		require.NotContains(t, string(r.body), "PRIVATE")
	}
	require.Contains(t, string(a.get("/api/profile", a.issuer.Session("user_ada")).body), `"public_metadata":{"k":"open"}`)
	require.JSONEq(t, `{"status":"ok"}`, string(a.get("/api/public", "").body))
}

// TestAuthorize: who the request is of, in headers that are always there.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	ada, adaIn1 := a.issuer.Session("user_ada"), a.issuer.Session("user_ada", "org_1", "admin")
	for name, tt := range map[string]struct{ query, token, org, role string }{
		"a user":                      {"", ada, "", ""},
		"a member":                    {"", adaIn1, "org_1", "org:admin"},
		"a required organization":     {"?org=required", adaIn1, "org_1", "org:admin"},
		"a role":                      {"?role=admin", adaIn1, "org_1", "org:admin"},
		"one of two roles":            {"?role=org:owner&role=org:admin", adaIn1, "org_1", "org:admin"},
		"a service's token":           {"?audience=billing", a.issuer.Template("user_ada", "billing", nil), "", ""},
		"a service's token of an org": {"?audience=billing&org=required", a.issuer.Template("user_ada", "billing", map[string]any{"org_id": "org_2", "org_role": "org:member"}), "org_2", "org:member"},
	} {
		t.Run(name, func(t *testing.T) {
			r := a.get("/api/authorize"+tt.query, tt.token, func(r *http.Request) {
				for _, name := range []string{"X-Clerk-User-Id", "X-Clerk-Org-Id", "X-Clerk-Role"} {
					r.Header.Set(name, "made up")
				}
			})
			require.Equal(t, http.StatusNoContent, r.StatusCode, string(r.body))
			require.Equal(t, []string{"user_ada"}, r.Header["X-Clerk-User-Id"])
			require.Equal(t, []string{tt.org}, r.Header["X-Clerk-Org-Id"])
			require.Equal(t, []string{tt.role}, r.Header["X-Clerk-Role"])
		})
	}
	cookie := a.get("/api/authorize", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "__session", Value: ada}) })
	require.Equal(t, http.StatusNoContent, cookie.StatusCode)
}

// TestVerifiedOnce: the signature of a token is verified once, however often it is used.
func TestVerifiedOnce(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.populate()
	token := a.issuer.Session("user_ada", "org_1", "admin")
	for range 5 {
		for _, path := range []string{"/api/profile", "/api/organization", "/api/authorize"} {
			require.Less(t, a.get(path, token).StatusCode, 300)
		}
	}
	results := testkit.Values(t, a.registry, "clerksync_tokens_total")
	require.EqualValues(t, 1, results["verified"])
	require.EqualValues(t, 14, results["cached"])
}
