package source_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/fakeclerk"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// world is an instance of Clerk, and the log and the tables of one test.
type world struct {
	*testkit.World
	t     testing.TB
	clerk *fakeclerk.Clerk
	url   string
}

func newWorld(t testing.TB, o fakeclerk.Options) *world {
	t.Helper()
	w := &world{World: testkit.NewWorld(t), t: t, clerk: fakeclerk.New(o)}
	server := httptest.NewServer(w.clerk)
	t.Cleanup(server.Close)
	w.url = server.URL
	w.clerk.SetTraps(fakeclerk.Traps{Unlimited: true})
	return w
}

// stopped is a clock that stands still.
func stopped() time.Time { return time.UnixMilli(1768208400000) }

// client returns a client without a limit of its own.
func (w *world) client() *source.Client {
	c := source.WithoutPauses(source.NewClient(source.Options{SecretKey: w.clerk.SecretKey(), URL: w.url, Rate: 1_000_000}))
	w.t.Cleanup(c.Close)
	return c
}

func (w *world) backfill(change ...func(*source.BackfillOptions)) *source.Backfill {
	o := source.BackfillOptions{Client: w.client(), Log: w.Log, Store: w.Store, Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&o)
	}
	return source.NewBackfill(o)
}

// worker applies the log until the test ends.
func (w *world) worker() {
	w.t.Helper()
	p := projector.New(projector.Options{Log: w.Log, Apply: w.Store.Apply, Registry: prometheus.NewRegistry(), Appliers: 2, Batch: 100})
	p.Start()
	w.t.Cleanup(func() { require.NoError(w.t, p.Stop(context.Background())) })
}

func (w *world) drain() {
	w.t.Helper()
	testkit.Eventually(w.t, "everything is applied", func() (bool, any) {
		backlog, err := w.Log.Backlog(context.Background())
		if err != nil {
			return false, err
		}
		return backlog.Pending == 0, backlog
	})
}

// requireMirrored requires that the tables have what Clerk has, and nothing else.
func (w *world) requireMirrored() {
	w.t.Helper()
	want := []string{}
	for _, u := range w.clerk.Users() {
		want = append(want, fmt.Sprintf("%s %s %s %d", u.ID, u.Email, u.LastName, u.UpdatedAt))
	}
	for _, o := range w.clerk.Organizations() {
		want = append(want, fmt.Sprintf("%s %s %d", o.ID, o.Name, o.UpdatedAt))
	}
	for _, m := range w.clerk.Memberships() {
		want = append(want, fmt.Sprintf("%s %s %s %s %d", m.ID, m.UserID, m.OrgID, m.Role, m.UpdatedAt))
	}
	const ms = `round(extract(epoch FROM %s) * 1000)::bigint`
	got := w.Rows(`SELECT concat_ws(' ', clerk_id, coalesce(primary_email, ''), coalesce(last_name, ''), ` + fmt.Sprintf(ms, "updated_at") + `) FROM active_users
		UNION ALL SELECT concat_ws(' ', clerk_id, name, ` + fmt.Sprintf(ms, "updated_at") + `) FROM active_organizations
		UNION ALL SELECT concat_ws(' ', m.clerk_id, u.clerk_id, m.org_id, m.role, ` + fmt.Sprintf(ms, "m.updated_at") + `) FROM org_memberships m JOIN users u ON u.id = m.user_id`)
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(w.t, want, got)
}

// snapshots returns how many snapshots of each type are in the log, and requires that none
// is there twice.
func (w *world) snapshots() map[string]int {
	w.t.Helper()
	count, ids := map[string]int{}, map[string]bool{}
	for _, m := range w.Events() {
		if m.Event.Origin != clerk.OriginBackfill {
			continue
		}
		require.False(w.t, ids[m.Event.ID], "%s twice", m.Event.ID)
		ids[m.Event.ID] = true
		count[m.Event.Envelope.Type]++
	}
	return count
}

// webhook stores an event of the fake as the receiver does.
func webhook(e fakeclerk.Event) *clerk.Event {
	envelope, err := clerk.ParseEnvelope(e.Body)
	if err != nil {
		panic(err)
	}
	return &clerk.Event{ID: e.ID, Origin: clerk.OriginWebhook, Body: e.Body, Envelope: envelope}
}

// failing returns the fault of the requests to a path from one on, up to another, 0 for
// all.
func failing(path string, from, to int, fault fakeclerk.Fault) func(*http.Request) fakeclerk.Fault {
	n := make(chan int, 1)
	n <- 0
	return func(r *http.Request) fakeclerk.Fault {
		if r.URL.Path != path {
			return fakeclerk.NoFault
		}
		i := <-n + 1
		n <- i
		if from <= i && i < cmp.Or(to, i+1) {
			return fault
		}
		return fakeclerk.NoFault
	}
}
