package loadtest

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/tail"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var secret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the-secret-of-24-bytes!!"))

// deployment is a receiver with its log and a worker.
type deployment struct {
	log    *eventlog.Log
	store  *store.Store
	server *httptest.Server
	front  atomic.Pointer[func(w http.ResponseWriter, n int64) bool] // answers the n-th event of a run instead; probes pass
	seen   atomic.Int64
	busy   atomic.Int64 // so many deletes are refused first
}

func deploy(t *testing.T, change ...func(*receiver.Options)) *deployment {
	t.Helper()
	n := testkit.NATS(t)
	d := &deployment{log: testkit.OpenLog(t, testkit.Connect(t, n)), store: testkit.Store(t)}
	feed, err := tail.NewFeed(testkit.Connect(t, n))
	require.NoError(t, err)
	t.Cleanup(feed.Close)
	o := receiver.Options{Secrets: []string{secret}, Log: d.log, Registry: prometheus.NewRegistry(), Answered: feed.Answered}
	for _, f := range change {
		f(&o)
	}
	r, err := receiver.New(o)
	require.NoError(t, err)
	d.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.Header.Get("Svix-Id"), "loadend_") && d.busy.Add(-1) >= 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if front := d.front.Load(); front != nil && req.Header.Get("Svix-Id")[:5] == "load_" && (*front)(w, d.seen.Add(1)) {
			return
		}
		r.ServeHTTP(w, req)
	}))
	t.Cleanup(d.server.Close)
	p := projector.New(projector.Options{Log: d.log, Apply: d.store.Apply, Appliers: 2, Batch: 100, Registry: prometheus.NewRegistry(), Settled: feed.Settled})
	p.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		require.NoError(t, p.Stop(ctx))
	})
	stop, err := lag.Attend(d.log, func() lag.Process { return lag.Process{Worker: &lag.Worker{Name: "here/1"}} })
	require.NoError(t, err)
	t.Cleanup(stop)
	require.NoError(t, d.log.Conn().Flush())
	return d
}

// put answers the events of a run instead of the receiver, where front reports true.
func (d *deployment) put(front func(w http.ResponseWriter, n int64) bool) { d.front.Store(&front) }

// options are those of a short run in a closed loop.
func (d *deployment) options() Options {
	return Options{URL: d.server.URL + clerk.WebhookPath, Secret: secret, For: time.Second, Connections: 4, BodySize: 1000, Log: d.log}
}

// run runs a test and checks what holds for every result.
func run(t *testing.T, ctx context.Context, o Options) (*Result, error) {
	t.Helper()
	test, err := New(o)
	require.NoError(t, err)
	defer test.sender.client.CloseIdleConnections()
	r, err := test.Run(ctx)
	if r != nil {
		var answered uint64
		for _, a := range r.Answers {
			answered += a.Events
		}
		require.Equal(t, r.Sent, answered, "every request is counted")
		require.Equal(t, r.EndToEnd == nil, r.NoEndToEnd != "", "what is unknown has a reason")
	}
	return r, err
}
