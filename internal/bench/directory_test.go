package bench

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/directory"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/store/db"
	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

// BenchmarkProfile: /api/profile, against a bare handler that does the same query through
// pgx for the same users, without tokens, limits and metrics.
func BenchmarkProfile(b *testing.B) {
	const n, users, clients = 4000, 400, 4
	st := startPostgres(b)
	url := st.Pool().Config().ConnString()
	issuer := testkit.NewTokenIssuer(b)
	ids, sessions := make([]string, users), make([]string, users)
	const at = 1768208400000
	var entries []store.Entry
	add := func(id, kind string, data testkit.Object) {
		entries = append(entries, store.Entry{Change: testkit.Change(testkit.Event("msg_"+id, kind, at, data)), Seq: uint64(len(entries) + 1)})
	}
	add("org_1", "organization.created", testkit.OrganizationData("org_1", "First", at, at))
	add("org_2", "organization.created", testkit.OrganizationData("org_2", "Second", at, at))
	for i := range users {
		id := "user_" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		ids[i] = id
		claims := issuer.Claims(id, "org_1", "admin")
		claims["exp"] = time.Now().Add(time.Hour).Unix()
		sessions[i] = issuer.Sign(claims)
		add(id, "user.created", testkit.UserData(id, id+"@example.com", id, at, at))
		add("orgmem_1"+id, "organizationMembership.created", testkit.MembershipData("orgmem_1"+id, id, "org_1", "org:admin", at, at))
		add("orgmem_2"+id, "organizationMembership.created", testkit.MembershipData("orgmem_2"+id, id, "org_2", "org:member", at, at))
	}
	if _, err := st.Apply(b.Context(), entries); err != nil {
		b.Fatal(err)
	}
	if _, err := st.Pool().Exec(b.Context(), "ANALYZE"); err != nil {
		b.Fatal(err)
	}
	reader, err := store.OpenReader(b.Context(), store.Options{URL: url, Schema: "clerk", MaxConns: clients})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(reader.Close)
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = clients
	config.ConnConfig.RuntimeParams["search_path"] = pgx.Identifier{"clerk"}.Sanitize()
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	queries := db.New()
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rows, err := queries.ProfileList(r.Context(), pool, r.Header.Get("X-User"))
		body, _ := json.Marshal(rows)
		if err != nil || len(rows) != 2 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})
	run := func(handler http.Handler) time.Duration {
		server := httptest.NewServer(handler)
		defer server.Close()
		transport := &http.Transport{MaxIdleConnsPerHost: clients}
		defer transport.CloseIdleConnections()
		began := time.Now()
		var all sync.WaitGroup
		for c := range clients {
			all.Go(func() {
				for i := range n / clients {
					user := (c + i*clients) % users
					r, _ := http.NewRequest(http.MethodGet, server.URL+"/api/profile", nil)
					r.Header.Set("Authorization", "Bearer "+sessions[user])
					r.Header.Set("X-User", ids[user])
					resp, err := transport.RoundTrip(r)
					if err != nil || resp.StatusCode != http.StatusOK {
						b.Error(resp, err)
						return
					}
					resp.Body.Close()
				}
			})
		}
		all.Wait()
		return time.Since(began)
	}
	verifier, err := token.New(token.Options{Key: issuer.PEM, Registry: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	api := func() http.Handler { // anew each round, as nobody sends so much
		return directory.New(directory.Options{Verifier: verifier, Reader: reader, Registry: prometheus.NewRegistry()})
	}
	run(api())
	run(bare) // connections and plans
	rounds(b, n, [2]string{"directory", "bare"}, [2]func(int) time.Duration{
		func(int) time.Duration { return run(api()) },
		func(int) time.Duration { return run(bare) },
	})
}
