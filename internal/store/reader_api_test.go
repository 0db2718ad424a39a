package store_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/directory"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

// tenancy are the conditions with which the queries of the directory API keep to the user
// and the organization of a token.
var tenancy = regexp.MustCompile(`\b(?:u|me|m|mine)\.(?:clerk_id|org_id) = (\$\d+)`)

// TestAPIKeepsTenantsApart: for random tenants, tokens and requests, no answer of the
// directory API has anything of another tenant: by the conditions of the queries alone, by
// the policies of the database alone, and by both.
func TestAPIKeepsTenantsApart(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ policies, conditions bool }{
		"by the conditions": {conditions: true},
		"by the policies":   {policies: true},
		"by both":           {policies: true, conditions: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database := testkit.DatabaseURL
			if tt.policies {
				database = testkit.RLSDatabaseURL
			}
			url := database(t)
			st := testkit.OpenStore(t, url)
			reader, err := store.OpenReader(t.Context(), store.Options{URL: url, Schema: "clerk", MaxConns: 2})
			require.NoError(t, err)
			t.Cleanup(reader.Close)
			if !tt.conditions {
				store.RewriteQueries(reader, func(sql string) string {
					without := tenancy.ReplaceAllString(sql, "$1::text IS NOT NULL")
					require.NotEqual(t, sql, without)
					require.NotRegexp(t, tenancy, without)
					return without
				})
			}
			issuer := testkit.NewTokenIssuer(t)
			verifier, err := token.New(token.Options{Key: issuer.PEM, Registry: prometheus.NewRegistry()})
			require.NoError(t, err)
			successes := 0
			rapid.Check(t, func(t *rapid.T) {
				testkit.Truncate(t, st)
				api := directory.New(directory.Options{Verifier: verifier, Reader: reader, Registry: prometheus.NewRegistry()})
				w := drawTenants(t)
				for i, e := range w.events {
					_, err := st.Apply(context.Background(), []store.Entry{{Change: testkit.Change(e), Seq: uint64(i + 1)}})
					require.NoError(t, err)
				}
				for range 8 {
					user := rapid.SampledFrom(w.users).Draw(t, "user")
					org := rapid.SampledFrom(append([]string{""}, w.orgs...)).Draw(t, "org")
					claims := issuer.Claims(user)
					switch {
					case org != "" && rapid.Bool().Draw(t, "version 2"):
						claims["o"] = testkit.Object{"id": org, "rol": "admin"}
					case org != "":
						claims["org_id"], claims["org_role"] = org, "org:admin"
					}
					r := httptest.NewRequest(http.MethodGet, rapid.SampledFrom([]string{
						"/api/profile", "/api/organization", "/api/organization/members", "/api/organization/members?limit=1",
						"/api/organization/members?search=mark", "/api/organization/members?role=admin&role=member",
						"/api/organization/members?cursor=b3JnbWVtX21hcmstMA", "/api/authorize",
					}).Draw(t, "path"), nil)
					r.Header.Set("Authorization", "Bearer "+issuer.Sign(claims))
					answer := httptest.NewRecorder()
					api.ServeHTTP(answer, r)
					if answer.Code < 300 {
						successes++
					} else {
						require.Contains(t, []int{http.StatusForbidden, http.StatusServiceUnavailable}, answer.Code, answer.Body)
					}
					visible := w.visible(user, org)
					for _, mark := range mark.FindAllString(answer.Body.String(), -1) {
						require.Contains(t, visible, mark, "%s of %s in %q: %s", r.URL, user, org, answer.Body)
					}
				}
			})
			require.Positive(t, successes)
		})
	}
}

// mark is in every value of a user or of an organization.
var mark = regexp.MustCompile(`(user|org)_mark-[0-9]+`)

// tenants are users, organizations, and who is in which.
type tenants struct {
	users, orgs []string
	members     map[string][]string // users by organization
	events      []*clerk.Event
}

func drawTenants(t *rapid.T) *tenants {
	const at = 1768208400000
	w := &tenants{members: map[string][]string{}}
	for i := range rapid.IntRange(1, 4).Draw(t, "users") {
		id := fmt.Sprintf("user_mark-%d", i)
		w.users = append(w.users, id)
		w.events = append(w.events, testkit.Event("msg_"+id, "user.created", at, testkit.UserData(id, id+"@example.com", id, at, at)))
	}
	n := 0
	for i := range rapid.IntRange(1, 3).Draw(t, "organizations") {
		id := fmt.Sprintf("org_mark-%d", i)
		w.orgs = append(w.orgs, id)
		w.events = append(w.events, testkit.Event("msg_"+id, "organization.created", at, testkit.OrganizationData(id, id, at, at)))
		for _, user := range w.users {
			place := rapid.SampledFrom([]string{"", "org:admin", "member", "left"}).Draw(t, user+" in "+id)
			if place == "" {
				continue
			}
			n++
			data := testkit.MembershipData(fmt.Sprintf("orgmem_mark-%d", n), user, id, strings.Replace(place, "left", "member", 1), at, at)
			w.events = append(w.events, testkit.Event(fmt.Sprintf("msg_in_%d", n), "organizationMembership.created", at, data))
			if place == "left" {
				w.events = append(w.events, testkit.Event(fmt.Sprintf("msg_out_%d", n), "organizationMembership.deleted", at+1000, data))
				continue
			}
			w.members[id] = append(w.members[id], user)
		}
	}
	return w
}

// visible returns the marks that a user may see: the user, the organizations it is in, and
// the members of the selected one.
func (w *tenants) visible(user, org string) []string {
	visible := map[string]bool{user: true}
	for _, o := range w.orgs {
		if !slices.Contains(w.members[o], user) {
			continue
		}
		visible[o] = true
		if o == org {
			for _, member := range w.members[o] {
				visible[member] = true
			}
		}
	}
	return slices.Collect(maps.Keys(visible))
}
