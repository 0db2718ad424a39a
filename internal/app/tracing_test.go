package app_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/clerksync/clerksync/internal/app"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestTracesOfAnApp: all spans reach the collector, because tracing stops last.
func TestTracesOfAnApp(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	traces := map[string][]string{} // the names of the spans
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var exported collectorpb.ExportTraceServiceRequest
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &exported) != nil {
			t.Error("not a request of OTLP")
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, from := range exported.GetResourceSpans() {
			for _, scope := range from.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					id := string(span.GetTraceId())
					traces[id] = append(traces[id], span.GetName())
				}
			}
		}
	}))
	defer collector.Close()
	a := start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) { o.Config.OTLPEndpoint = collector.URL }))
	post(t, a, "msg_1")
	awaitLag(t, a, "in step", func(l lag) bool { return l.InStep && *l.Pending == 0 })
	require.NoError(t, a.Stop())

	var all [][]string
	for _, names := range traces {
		slices.Sort(names)
		all = append(all, names)
	}
	require.ElementsMatch(t, [][]string{{"project", "receive", "store"}, {"apply"}}, all)
}

// TestCollectorIsAway: a missing collector changes nothing.
func TestCollectorIsAway(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close() // it takes connections and does not answer
	for name, address := range map[string]string{"nobody listens": "127.0.0.1:1", "nobody answers": listener.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			a := start(t, options(t, database(testkit.DatabaseURL(t)), func(o *app.Options) { o.Config.OTLPEndpoint = "http://" + address }))
			status, _ := readiness(t, a)
			require.Equal(t, http.StatusOK, status)
			post(t, a, "msg_1")
			awaitLag(t, a, "in step", func(l lag) bool { return l.InStep && *l.Pending == 0 })
			started := time.Now()
			require.NoError(t, a.Stop())
			require.Less(t, time.Since(started), 10*time.Second)
		})
	}
}
