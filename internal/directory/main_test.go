package directory_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/directory"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	origin = "https://app.example"
	at     = 1768208400000 // of the first event, in milliseconds
)

// api is the directory API over the tables of one test.
type api struct {
	t        testing.TB
	store    *store.Store
	reader   *store.Reader
	issuer   *testkit.TokenIssuer
	registry *prometheus.Registry
	handler  *directory.Handler
	url      string
	seq      uint64
}

// setup changes the options of an api.
type setup func(*token.Options, *directory.Options)

func newAPI(t testing.TB, change ...setup) *api {
	t.Helper()
	url := testkit.DatabaseURL(t)
	return newAPIOn(t, url, testkit.OpenStore(t, url), change...)
}

// newAPIOn returns an API over a database that a store writes.
func newAPIOn(t testing.TB, databaseURL string, st *store.Store, change ...setup) *api {
	t.Helper()
	a := &api{t: t, store: st, issuer: testkit.NewTokenIssuer(t), registry: prometheus.NewRegistry()}
	var err error
	a.reader, err = store.OpenReader(t.Context(), store.Options{URL: databaseURL, Schema: "clerk", ApplicationName: "clerksync-api", MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(a.reader.Close)
	tokens := token.Options{Key: a.issuer.PEM, Issuer: a.issuer.Issuer, AuthorizedParties: []string{origin}, Audiences: []string{"billing"}, Registry: a.registry}
	o := directory.Options{Reader: a.reader, Origins: []string{origin}, Registry: a.registry, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&tokens, &o)
	}
	o.Verifier, err = token.New(tokens)
	require.NoError(t, err)
	a.handler = directory.New(o)
	server := httptest.NewServer(a.handler)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// newAPIBehindProxy returns an API that reaches the database through a proxy, and the
// address of the database.
func newAPIBehindProxy(t testing.TB) (*api, *testkit.Proxy, string) {
	t.Helper()
	direct := testkit.DatabaseURL(t)
	u, err := url.Parse(direct)
	require.NoError(t, err)
	address := u.Host
	proxy := testkit.NewProxy(t, address)
	u.Host = proxy.Addr()
	return newAPIOn(t, u.String(), testkit.OpenStore(t, direct)), proxy, address
}

// apply applies events, as the worker does.
func (a *api) apply(events ...*clerk.Event) {
	a.t.Helper()
	for _, e := range events {
		a.seq++
		_, err := a.store.Apply(context.Background(), []store.Entry{{Change: testkit.Change(e), Seq: a.seq}})
		require.NoError(a.t, err)
	}
}

func user(id, email, name string) *clerk.Event {
	return testkit.Event("msg_"+id, "user.created", at, testkit.UserData(id, email, name, at, at))
}

func organization(id, name string) *clerk.Event {
	return testkit.Event("msg_"+id, "organization.created", at, testkit.OrganizationData(id, name, at, at))
}

func membership(id, user, org, role string) *clerk.Event {
	return testkit.Event("msg_"+id, "organizationMembership.created", at, testkit.MembershipData(id, user, org, role, at, at))
}

// deleted is the event that an entity was deleted.
func deleted(eventType, object, id string) *clerk.Event {
	return testkit.Event("msg_deleted_"+id, eventType, at+1000, testkit.DeletedData(object, id))
}

// populate makes two organizations. Ada is admin of the first and member of the second,
// Bob member of the first, Eve member of the second.
func (a *api) populate() {
	a.t.Helper()
	a.apply(
		user("user_ada", "ada@example.com", "Ada"), user("user_bob", "bob@example.com", "Bob"), user("user_eve", "eve@example.com", "Eve"),
		organization("org_1", "First"), organization("org_2", "Second"),
		membership("orgmem_1", "user_ada", "org_1", "org:admin"), membership("orgmem_2", "user_bob", "org_1", "org:member"),
		membership("orgmem_3", "user_eve", "org_2", "org:member"), membership("orgmem_4", "user_ada", "org_2", "org:member"),
	)
}

// reply is an answer.
type reply struct {
	*http.Response
	body []byte
}

// get sends a request with a token, "" for none.
func (a *api) get(path, token string, change ...func(*http.Request)) *reply {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, a.url+path, nil)
	require.NoError(a.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, f := range change {
		f(req)
	}
	return a.do(req)
}

func (a *api) do(req *http.Request) *reply {
	a.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(a.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(a.t, err)
	r := &reply{resp, body}
	if directory.Serves(req.URL.Path) && (req.Method == http.MethodGet || resp.StatusCode == http.StatusMethodNotAllowed) {
		requireDescribed(a.t, req, r)
	}
	return r
}

// decode reads the answer to a request, which has to be a success.
func decode[T any](t testing.TB, r *reply) (v T) {
	t.Helper()
	require.Equal(t, http.StatusOK, r.StatusCode, string(r.body))
	require.NoError(t, json.Unmarshal(r.body, &v))
	return v
}

// problem is an answer that is no success.
type problem struct {
	Type, Title, Detail, Code string
	Status                    int
}

// requireProblem requires a problem, and returns it.
func requireProblem(t testing.TB, r *reply, status int, code string) problem {
	t.Helper()
	require.Equal(t, status, r.StatusCode, string(r.body))
	require.Equal(t, "application/problem+json", r.Header.Get("Content-Type"))
	var p problem
	require.NoError(t, json.Unmarshal(r.body, &p))
	require.Equal(t, code, p.Code, p.Detail)
	require.Equal(t, status, p.Status)
	require.Equal(t, code, r.Header.Get(directory.ReasonHeader))
	require.Equal(t, "private, no-store", r.Header.Get("Cache-Control"))
	return p
}
