package tracing_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/tracing"
)

// collector is an HTTP server that receives traces.
type collector struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	spans    []string // names
	resource map[string]string
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{resource: map[string]string{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var exported collectorpb.ExportTraceServiceRequest
		body, err := io.ReadAll(r.Body)
		if err != nil || proto.Unmarshal(body, &exported) != nil {
			t.Error("not a request of OTLP")
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests = append(c.requests, r)
		for _, from := range exported.GetResourceSpans() {
			for _, kv := range from.GetResource().GetAttributes() {
				c.resource[kv.GetKey()] = kv.GetValue().GetStringValue()
			}
			for _, scope := range from.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					c.spans = append(c.spans, span.GetName())
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// startProvider starts a provider and returns its log.
func startProvider(t *testing.T, url string) (*tracing.Provider, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer // written by one goroutine, and read when that has ended
	p, err := tracing.Start(t.Context(), tracing.Options{URL: url, Version: "1.2.3", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(context.Background())) })
	return p, &log
}

// spend records spans.
func spend(t *testing.T, p *tracing.Provider, n int) {
	t.Helper()
	tracer := tracing.New(p)
	for range n {
		_, span := tracer.Receive(t.Context())
		span.End("stored", 204)
	}
}

// TestCollectorGetsTheSpans: at the latest at the stop, with the resource.
func TestCollectorGetsTheSpans(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	p, log := startProvider(t, c.URL+"/v1/traces")
	spend(t, p, 3)
	require.NoError(t, p.Stop(t.Context()))
	require.NoError(t, p.Stop(t.Context()), "again")
	require.Equal(t, []string{"receive", "receive", "receive"}, c.spans)
	require.Equal(t, "/v1/traces", c.requests[0].URL.Path)
	require.Equal(t, "clerksync", c.resource["service.name"])
	require.Equal(t, "1.2.3", c.resource["service.version"])
	require.Empty(t, log.String())

	spend(t, p, 1) // after the stop
	require.Len(t, c.spans, 3)
}

// TestVariablesOfOpenTelemetry: service name, headers and sampler are read.
func TestVariablesOfOpenTelemetry(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "clerk-eu")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=other")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hidden-token")
	c := startCollector(t)
	p, log := startProvider(t, c.URL)
	spend(t, p, 1)
	require.NoError(t, p.Stop(t.Context()))
	require.Equal(t, []string{"receive"}, c.spans)
	require.Equal(t, "clerk-eu", c.resource["service.name"])
	require.Equal(t, "test", c.resource["deployment.environment.name"])
	require.Equal(t, "Bearer hidden-token", c.requests[0].Header.Get("Authorization"))
	require.Empty(t, log.String())

	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	p, _ = startProvider(t, c.URL)
	spend(t, p, 1)
	require.NoError(t, p.Stop(t.Context()))
	require.Len(t, c.spans, 1)

	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "nothing")
	_, err := tracing.Start(t.Context(), tracing.Options{URL: c.URL, Logger: slog.New(slog.DiscardHandler)})
	require.ErrorContains(t, err, "; is OTEL_RESOURCE_ATTRIBUTES of the form name=value,name=value?")
}

// TestHeadersAreInNoLog: even when the collector echoes them.
func TestHeadersAreInNoLog(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hidden-token")
	for _, status := range []int{http.StatusOK, http.StatusUnauthorized, http.StatusServiceUnavailable, http.StatusFound} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-protobuf")
			said := []byte("not known: " + r.Header.Get("Authorization"))
			if status == http.StatusOK {
				said, _ = proto.Marshal(&collectorpb.ExportTraceServiceResponse{
					PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: string(said)},
				})
			}
			w.WriteHeader(status)
			_, _ = w.Write(said)
		}))
		p, log := startProvider(t, server.URL+"/hidden-path")
		spend(t, p, 1)
		require.NoError(t, p.Stop(t.Context()))
		server.Close()
		require.Equal(t, 1, strings.Count(log.String(), "the collector does not take traces"), status)
		require.NotContains(t, log.String(), "hidden")
	}
}

// TestCollectorIsAway: spans are dropped, nothing waits, and one warning is logged.
func TestCollectorIsAway(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	p, log := startProvider(t, "http://"+listener.Addr().String())
	for range 5 {
		spend(t, p, 100)
		require.NoError(t, p.ForceFlush(t.Context()))
	}
	require.NoError(t, p.Stop(t.Context()))
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), `level=WARN msg="the collector does not take traces, they are lost" spans=100 err="dial tcp 127.0.0.1:`)
}

// TestCollectorHangs: recording spans does not wait, and a stop not long.
func TestCollectorHangs(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case asked <- struct{}{}:
		case <-release:
		}
		<-release
	}))
	defer server.Close()
	defer close(release)
	p, log := startProvider(t, server.URL)
	spend(t, p, 600) // more than one batch
	select {
	case <-asked:
	case <-time.After(testkit.Patience):
		t.Fatal("nothing was sent")
	}
	started := time.Now()
	spend(t, p, 20_000) // more than the queue has room for
	require.Less(t, time.Since(started), 2*time.Second)

	started = time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // in a hurry
	require.NoError(t, p.Stop(ctx))
	require.Less(t, time.Since(started), 2*time.Second)
	require.Contains(t, log.String(), `err="not taken before the stop"`)
}

// TestStopWaitsSecondsAtMost: for a hanging collector.
func TestStopWaitsSecondsAtMost(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
	}))
	defer server.Close()
	defer close(release)
	p, _ := startProvider(t, server.URL)
	spend(t, p, 2000) // four batches
	started := time.Now()
	require.NoError(t, p.Stop(t.Context()))
	require.InDelta(t, 3, time.Since(started).Seconds(), 2)
}
