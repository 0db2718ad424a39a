package probe

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var (
	secret  = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the-secret-of-24-bytes!!"))
	another = "whsec_" + base64.StdEncoding.EncodeToString([]byte("another-secret-24-bytes!"))
)

// deployment is a receiver behind a web server, with its log.
type deployment struct {
	t      *testing.T
	nats   *embeddednats.Server
	nc     *nats.Conn
	log    *eventlog.Log
	server *httptest.Server
	front  atomic.Pointer[http.Handler] // what answers instead of the receiver, nil for the receiver
}

func deploy(t *testing.T, change ...func(*receiver.Options)) *deployment {
	t.Helper()
	d := &deployment{t: t, nats: testkit.NATS(t)}
	d.nc = testkit.Connect(t, d.nats)
	d.log = testkit.OpenLog(t, d.nc)
	o := receiver.Options{Secrets: []string{secret}, Log: d.log, Registry: prometheus.NewRegistry()}
	for _, f := range change {
		f(&o)
	}
	r, err := receiver.New(o)
	require.NoError(t, err)
	d.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch front := d.front.Load(); {
		case front != nil:
			(*front).ServeHTTP(w, req)
		case req.URL.Path != clerk.WebhookPath:
			http.Error(w, "not found", http.StatusNotFound)
		default:
			r.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(d.server.Close)
	return d
}

// put replaces the receiver by another handler.
func (d *deployment) put(f http.HandlerFunc) {
	h := http.Handler(f)
	d.front.Store(&h)
}

// work starts a worker that answers roll calls.
func (d *deployment) work(apply func(context.Context, []store.Entry) ([]store.Outcome, error), failing *lag.Failure) {
	d.t.Helper()
	p := projector.New(projector.Options{Log: d.log, Apply: apply, Registry: prometheus.NewRegistry()})
	p.Start()
	d.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Stop(ctx) // what a test holds up is cut off
	})
	stop, err := lag.Attend(d.log, func() lag.Process { return lag.Process{Worker: &lag.Worker{Name: "here/1", Failing: failing}} })
	require.NoError(d.t, err)
	d.t.Cleanup(stop)
	require.NoError(d.t, d.nc.Flush())
}

// probe returns a probe of this deployment.
func (d *deployment) probe() *Probe {
	return &Probe{URL: d.server.URL + clerk.WebhookPath, Secret: secret, Log: d.log, Workers: func() ([]lag.Worker, error) { return lag.Workers(d.log) }, Timeout: testkit.Patience}
}

// run sends a probe and checks the invariants of every result.
func run(t *testing.T, p *Probe) *Result {
	t.Helper()
	r := p.Run(t.Context())
	require.Equal(t, r.OK, r.StoppedAt == "")
	require.Equal(t, r.OK, r.Cause == "" && r.Fix == "", "what stops has a cause and a fix")
	if !r.OK {
		require.Contains(t, Hops, r.StoppedAt)
		require.Nil(t, r.Times.Total)
	}
	text := fmt.Sprintf("%+v", *r)
	for _, s := range []string{secret, strings.TrimPrefix(secret, "whsec_"), another} {
		require.NotContains(t, text, s)
	}
	require.True(t, strings.HasPrefix(r.SvixID, "probe_"))
	require.True(t, signing.ValidID(r.SvixID))
	return r
}

// requireStopped checks where a probe stopped, the cause and the fix.
func requireStopped(t *testing.T, r *Result, at Hop, cause, fix string) {
	t.Helper()
	require.Equal(t, []string{string(at), cause, fix}, []string{string(r.StoppedAt), r.Cause, r.Fix})
}

// soon bounds the wait for something that does not happen.
const soon = 300 * time.Millisecond

var discard = log.New(io.Discard, "", 0)
