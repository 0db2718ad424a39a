package lag

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// world is a log and a store.
type world struct {
	t      *testing.T
	server *embeddednats.Server
	nc     *nats.Conn
	log    *eventlog.Log
	store  *store.Store
	n      int // events so far
}

func newWorld(t *testing.T) *world {
	t.Helper()
	n := testkit.NATS(t)
	nc := testkit.Connect(t, n)
	log, err := eventlog.Open(t.Context(), nc, eventlog.Options{StoreEvents: []string{"user.*", "organization.*", "organizationMembership.*"}})
	require.NoError(t, err)
	t.Cleanup(log.Close)
	return &world{t: t, server: n, nc: nc, log: log, store: testkit.Store(t)}
}

func (w *world) meter() *Meter { return NewMeter(w.log, w.store, true, slog.New(slog.DiscardHandler)) }

func (w *world) measure(m *Meter) *Reading { return m.Measure(w.t.Context()) }

// await measures until ok accepts the reading.
func (w *world) await(m *Meter, what string, ok func(*Reading) bool) *Reading {
	w.t.Helper()
	var r *Reading
	testkit.Eventually(w.t, what, func() (bool, any) {
		r = w.measure(m)
		return ok(r), fmt.Sprintf("%+v", *r)
	})
	return r
}

// emit stores events of new users, emitted ago and received now.
func (w *world) emit(n int, ago time.Duration) {
	w.t.Helper()
	for range n {
		w.n++
		at := time.Now().Add(-ago).UnixMilli()
		e := testkit.Event(fmt.Sprint("msg_", w.n), "user.created", at, testkit.UserData(fmt.Sprint("user_", w.n), "", "name", at, at))
		e.ReceivedAt = time.Now()
		w.append(e)
	}
}

func (w *world) append(e *clerk.Event) {
	w.t.Helper()
	_, err := w.log.Append(w.t.Context(), e)
	require.NoError(w.t, err)
}

// worker starts a projector that answers roll calls.
func (w *world) worker(name string, apply func(context.Context, []store.Entry) ([]store.Outcome, error)) *projector.Projector {
	w.t.Helper()
	log := w.log
	if name != "first" { // another process
		log = testkit.OpenLog(w.t, testkit.Connect(w.t, w.server))
	}
	p := projector.New(projector.Options{Log: log, Apply: apply, Registry: prometheus.NewRegistry()})
	p.Start()
	stop, err := Attend(log, func() Process {
		self := &Worker{Name: name, Applied: p.Settled()}
		self.Appliers, self.Busy = p.Appliers()
		if since, err := p.Failing(); err != nil {
			self.Failing = &Failure{Reason: store.Outage(err), Since: since}
		}
		return Process{Worker: self}
	})
	require.NoError(w.t, err)
	w.t.Cleanup(stop)
	w.t.Cleanup(func() { w.stop(p) })
	return p
}

func (w *world) stop(p *projector.Projector) {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		w.t.Errorf("Stop: %v", err)
	}
}
