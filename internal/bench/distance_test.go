package bench

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// roundTrip is the network time to the distant database and back.
const roundTrip = 2 * time.Millisecond

// BenchmarkDistantDatabase: the drain, and a lone event, with a database that is 2 ms away
// and with the same one nearby.
func BenchmarkDistantDatabase(b *testing.B) {
	near := startPostgres(b)
	sides := [2]*store.Store{through(b, near, roundTrip), near}
	b.Run("drain", func(b *testing.B) {
		const n = 50_000
		side := func(i int) func(int) time.Duration {
			return func(int) time.Duration {
				truncate(b, near)
				_, log := startNATS(b, true)
				for start := 0; start < n; start += 5000 {
					fill(b, log, start, 5000)
				}
				return drain(b, log, sides[i], n, prometheus.NewRegistry())
			}
		}
		rounds(b, n, [2]string{"distant", "near"}, [2]func(int) time.Duration{side(0), side(1)})
	})
	b.Run("lone-event", func(b *testing.B) {
		const n = 100
		truncate(b, near)
		_, log := startNATS(b, false)
		addr := serve(b, newReceiver(b, log))
		var took [2][]float64
		for round := range max(b.N, 5) {
			for i, st := range sides {
				p := newProjector(log, st, prometheus.NewRegistry())
				p.Start()
				prefix := fmt.Sprintf("F%d%d", i, round)
				for k, request := range requests(b, prefix, n) {
					started := time.Now()
					if err := postAll(addr, [][]byte{request}); err != nil {
						b.Fatal(err)
					}
					awaitUser(b, near, fmt.Sprintf("user_%s%09d", prefix, k))
					took[i] = append(took[i], time.Since(started).Seconds()*1000)
				}
				if err := p.Stop(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		}
		distant, local := median(took[0]), median(took[1])
		b.ReportMetric(distant, "distant-p50-ms")
		b.ReportMetric(local, "near-p50-ms")
		b.ReportMetric((distant-local)/(roundTrip.Seconds()*1000), "round-trips")
		b.ReportMetric(0, "ns/op")
	})
}

// awaitUser polls until the row of a user is visible.
func awaitUser(b *testing.B, st *store.Store, id string) {
	for found := false; !found; {
		if err := st.Pool().QueryRow(b.Context(), "SELECT EXISTS (SELECT FROM users WHERE clerk_id = $1)", id).Scan(&found); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTenOrganizations: two workers on one database, against one, with a backlog of
// memberships of ten organizations only, whose heads all of them need.
func BenchmarkTenOrganizations(b *testing.B) {
	near := startPostgres(b)
	b.Run("near", func(b *testing.B) { tenOrganizations(b, near, near) })
	b.Run("distant", func(b *testing.B) { tenOrganizations(b, near, through(b, near, roundTrip)) })
}

func tenOrganizations(b *testing.B, near, st *store.Store) {
	const n, organizations = 20_000, 10
	side := func(workers int) func(int) time.Duration {
		return func(int) time.Duration {
			truncate(b, near)
			_, log := startNATS(b, true)
			var parents, memberships []*clerk.Event
			at := time.Now().UnixMilli()
			for i := range organizations {
				id := fmt.Sprint("org_", i)
				parents = append(parents, testkit.Event("msg_"+id, "organization.created", at, testkit.OrganizationData(id, id, at, at)))
			}
			for i := range n {
				user, id := fmt.Sprint("user_", i), fmt.Sprint("orgmem_", i)
				parents = append(parents, testkit.Event("msg_"+user, "user.created", at, testkit.UserData(user, "", user, at, at)))
				data := testkit.MembershipData(id, user, fmt.Sprint("org_", i%organizations), "org:member", at, at)
				memberships = append(memberships, testkit.Event("msg_"+id, "organizationMembership.created", at, data))
			}
			appendEvents(b, log, parents)
			drainBy(b, log, near, 1)
			appendEvents(b, log, memberships)
			took := drainBy(b, log, st, workers)
			var count int
			if err := near.Pool().QueryRow(b.Context(), "SELECT count(*) FROM org_memberships").Scan(&count); err != nil || count != n {
				b.Fatalf("%d memberships of %d: %v", count, n, err)
			}
			return took
		}
	}
	rounds(b, n, [2]string{"two", "one"}, [2]func(int) time.Duration{side(2), side(1)})
}

func appendEvents(b *testing.B, log *eventlog.Log, all []*clerk.Event) {
	for chunk := range slices.Chunk(all, 500) {
		if _, err := log.AppendAll(b.Context(), chunk); err != nil {
			b.Fatal(err)
		}
	}
}

// drainBy applies all that is pending by so many workers, as in processes of their own.
func drainBy(b *testing.B, log *eventlog.Log, st *store.Store, workers int) time.Duration {
	var all []*projector.Projector
	for range workers {
		all = append(all, newProjector(log, st, prometheus.NewRegistry()))
	}
	started := time.Now()
	for _, p := range all {
		p.Start()
	}
	for {
		backlog, err := log.Backlog(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if backlog.Pending == 0 {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
	took := time.Since(started)
	for _, p := range all {
		if err := p.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	return took
}

// through returns the store of a database as from so far away.
func through(b *testing.B, near *store.Store, roundTrip time.Duration) *store.Store {
	u, err := url.Parse(near.Pool().Config().ConnString())
	if err != nil {
		b.Fatal(err)
	}
	proxy := testkit.NewProxy(b, u.Host)
	proxy.Delay(roundTrip / 2)
	u.Host = proxy.Addr()
	st, err := store.Open(b.Context(), store.Options{URL: u.String(), Schema: config.Default().Schema, MaxConns: 8})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(st.Close)
	return st
}
