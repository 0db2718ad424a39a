package directory_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/directory"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

// newPullingAPI returns an API that has access to a made-up Clerk, and a worker.
func newPullingAPI(t testing.TB, change ...setup) (*api, *fakeclerk.Clerk) {
	t.Helper()
	clerk := fakeclerk.New(fakeclerk.Options{Seed: 1})
	clerk.SetTraps(fakeclerk.Traps{Unlimited: true})
	server := httptest.NewServer(clerk)
	t.Cleanup(server.Close)
	databaseURL := testkit.DatabaseURL(t)
	st := testkit.OpenStore(t, databaseURL)
	log := testkit.Log(t)
	worker := projector.New(projector.Options{Log: log, Apply: st.Apply, Registry: prometheus.NewRegistry(), Appliers: 2, Batch: 100})
	worker.Start()
	t.Cleanup(func() { require.NoError(t, worker.Stop(context.Background())) })
	client := source.NewClient(source.Options{SecretKey: clerk.SecretKey(), URL: server.URL, Rate: 1_000_000})
	t.Cleanup(client.Close)
	puller := source.NewPuller(source.PullerOptions{Client: client, Log: log, Store: st, InstanceID: clerk.InstanceID(), Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(puller.Close)
	pull := func(_ *token.Options, o *directory.Options) {
		o.Pull = func(ctx context.Context, userID string) error {
			_, err := puller.Pull(ctx, userID)
			return err
		}
	}
	return newAPIOn(t, databaseURL, st, append([]setup{pull}, change...)...), clerk
}

// TestPullThrough: who has just signed up is there with the first request, with the
// memberships, and a burst of requests shares one pull.
func TestPullThrough(t *testing.T) {
	t.Parallel()
	a, clerk := newPullingAPI(t)
	var pulls atomic.Int64
	clerk.SetTraps(fakeclerk.Traps{Unlimited: true, BeforeRead: func(r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/users/") && !strings.HasSuffix(r.URL.Path, "/organization_memberships") {
			pulls.Add(1)
		}
	}})
	id := clerk.CreateUser(fakeclerk.User{FirstName: "Ada", LastName: "Lovelace"}).ID
	session := a.issuer.Session(id)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			r := a.get("/api/profile", session)
			if r.StatusCode == http.StatusServiceUnavailable { // a busy machine takes longer than the time limit
				requireProblem(t, r, 503, "not_synced_yet")
			}
		})
	}
	all.Wait()
	testkit.Eventually(t, "the user is there", func() (bool, any) {
		r := a.get("/api/profile", session)
		return r.StatusCode == http.StatusOK, r.StatusCode
	})
	require.Equal(t, "Ada Lovelace", *decode[store.Profile](t, a.get("/api/profile", session)).Name)
	require.EqualValues(t, 1, pulls.Load())
}

// TestPullOfAMembership: a membership that was never seen is pulled, and one that Clerk
// does not have either is refused, without another request to Clerk.
func TestPullOfAMembership(t *testing.T) {
	t.Parallel()
	a, clerk := newPullingAPI(t)
	clerk.Populate(6, 2)
	m := clerk.Memberships()[0]
	eventually(t, a, "/api/organization", a.issuer.Session(m.UserID, m.OrgID, "member"), http.StatusOK)

	other := ""
	for _, o := range clerk.Organizations() {
		if !isMember(clerk, m.UserID, o.ID) {
			other = o.ID
		}
	}
	if other == "" {
		other = "org_of_nobody"
	}
	stranger := a.issuer.Session(m.UserID, other, "admin")
	eventually(t, a, "/api/organization", stranger, http.StatusForbidden)
	before := clerk.Stats().Requests
	for range 20 {
		requireProblem(t, a.get("/api/organization", stranger), http.StatusForbidden, "not_a_member")
	}
	require.Equal(t, before, clerk.Stats().Requests)
}

func isMember(clerk *fakeclerk.Clerk, user, org string) bool {
	for _, m := range clerk.Memberships() {
		if m.UserID == user && m.OrgID == org {
			return true
		}
	}
	return false
}

// eventually waits for the answer of a pull, which on a busy machine takes longer than a
// request waits.
func eventually(t *testing.T, a *api, path, token string, status int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%s answers with %d", path, status), func() (bool, any) {
		r := a.get(path, token)
		if r.StatusCode != status {
			requireProblem(t, r, http.StatusServiceUnavailable, "not_synced_yet")
		}
		return r.StatusCode == status, r.StatusCode
	})
}

// TestNoPullForADeletedUser: neither for a tombstone nor for a user whom Clerk does not
// have any more is Clerk asked with every request.
func TestNoPullForADeletedUser(t *testing.T) {
	t.Parallel()
	a, clerk := newPullingAPI(t)
	a.apply(user("user_gone", "gone@example.com", "Gone"), deleted("user.deleted", "user", "user_gone"))
	for range 5 {
		requireProblem(t, a.get("/api/profile", a.issuer.Session("user_gone")), http.StatusForbidden, "user_inactive")
	}
	require.Zero(t, clerk.Stats().Requests)
	eventually(t, a, "/api/profile", a.issuer.Session("user_unknown"), http.StatusForbidden)
	before := clerk.Stats().Requests
	for range 20 {
		p := requireProblem(t, a.get("/api/profile", a.issuer.Session("user_unknown")), http.StatusForbidden, "user_inactive")
		require.Contains(t, p.Detail, "Clerk has no such user: it was deleted, or the token is of another instance; sign in again")
		require.Equal(t, "The user is not active", p.Title)
	}
	require.Equal(t, before, clerk.Stats().Requests)
}

// TestPullTakesTooLong: the answer comes within the time limit, and says to come again.
func TestPullTakesTooLong(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(_ *token.Options, o *directory.Options) {
		o.Pull = func(ctx context.Context, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		}
	})
	began := time.Now()
	r := a.get("/api/profile", a.issuer.Session("user_new"))
	requireProblem(t, r, http.StatusServiceUnavailable, "not_synced_yet")
	require.Equal(t, "2", r.Header.Get("Retry-After"))
	require.Less(t, time.Since(began), testkit.Patience)
	require.EqualValues(t, 1, testkit.Values(t, a.registry, "clerksync_api_pulls_total")["late"])
}

// TestFlood: ten thousand made-up tokens, each of another key, cause one request for
// Clerk's keys and none to the Backend API.
func TestFlood(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	issuer := testkit.NewTokenIssuer(t)
	jwks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		issuer.JWKS.ServeHTTP(w, r)
	}))
	t.Cleanup(jwks.Close)
	a, clerk := newPullingAPI(t, func(o *token.Options, _ *directory.Options) { o.Key, o.Issuer = "", jwks.URL })
	a.issuer.Issuer = jwks.URL
	a.apply(user("user_ada", "ada@example.com", "Ada"))
	require.Equal(t, http.StatusOK, a.get("/api/profile", a.issuer.Session("user_ada")).StatusCode)
	require.EqualValues(t, 1, requests.Load())

	// Signed once, since signing is slow: the header is not what the signature is of.
	_, signed, _ := strings.Cut(a.issuer.Session("user_ada"), ".")
	var all sync.WaitGroup
	for part := range 8 {
		all.Go(func() {
			for i := range 1250 {
				header := fmt.Sprintf(`{"alg":"RS256","typ":"JWT","kid":"ins_%d_%d"}`, part, i)
				r := a.send("/api/profile", base64.RawURLEncoding.EncodeToString([]byte(header))+"."+signed)
				if r != http.StatusUnauthorized {
					t.Errorf("answered with %d", r)
					return
				}
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, requests.Load(), int64(2), "one more for all unknown keys of the interval")
	require.Zero(t, clerk.Stats().Requests)
	require.EqualValues(t, 1, testkit.Values(t, a.registry, "clerksync_tokens_total")["verified"])
	require.Equal(t, http.StatusOK, a.get("/api/profile", a.issuer.Session("user_ada")).StatusCode, "others are served")
}

// send sends a request to the handler itself: thousands of connections are not what is
// tested.
func (a *api) send(path, token string) int {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	return w.Code
}
