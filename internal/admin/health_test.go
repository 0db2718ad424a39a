package admin_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
)

// TestHealthIsForEverybody: without a token, by any name of the host.
func TestHealthIsForEverybody(t *testing.T) {
	t.Parallel()
	broken := ""
	checks := []admin.Check{
		{Name: "event_log", Needed: true, Fault: func(context.Context) string { return broken }},
		{Name: "postgresql", Fault: func(context.Context) string { return "PostgreSQL refuses connections" }},
	}
	for _, w := range []*world{
		newWorld(t, func(o *admin.Options) { o.Checks = checks }),
		newWorld(t, withToken, func(o *admin.Options) { o.Checks = checks }),
	} {
		broken = ""
		other := host("10.1.2.3:8081")
		require.Equal(t, "ok\n", w.do("GET", "/healthz", other).Body.String())
		answer := w.do("GET", "/readyz", other)
		require.Equal(t, http.StatusOK, answer.Code)
		require.JSONEq(t, `{"ready":true,"checks":{"event_log":"ok","postgresql":"PostgreSQL refuses connections"}}`, answer.Body.String())
		broken = "full"
		answer = w.do("GET", "/readyz", other)
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		require.JSONEq(t, `{"ready":false,"checks":{"event_log":"full","postgresql":"PostgreSQL refuses connections"}}`, answer.Body.String())
	}
}

// TestReadyzDoesNotWait: a check that hangs does not delay the answer, and one that is not
// needed does not decide.
func TestReadyzDoesNotWait(t *testing.T) {
	t.Parallel()
	for needed, status := range map[bool]int{false: http.StatusOK, true: http.StatusServiceUnavailable} {
		var hung chan struct{} // of the bubble
		w := newWorld(t, func(o *admin.Options) {
			o.Checks = []admin.Check{
				{Name: "event_log", Needed: true, Fault: func(context.Context) string { return "" }},
				{Name: "postgresql", Needed: needed, Fault: func(context.Context) string { <-hung; return "" }},
				{Name: "projector", Fault: func(ctx context.Context) string { <-ctx.Done(); return "busy" }},
			}
		})
		synctest.Test(t, func(t *testing.T) {
			hung = make(chan struct{})
			defer close(hung)
			began := time.Now()
			answer := w.do("GET", "/readyz")
			require.Less(t, time.Since(began), 800*time.Millisecond)
			require.Equal(t, status, answer.Code)
			require.Contains(t, answer.Body.String(), `"postgresql":"no answer in time"`)
		})
	}
}

// TestLagAndMetrics are guarded like the dashboard: by the token, by the name of the
// host, and against guesses.
func TestLagAndMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "clerksync_test"}))
	gatherer := func(o *admin.Options) { o.Gatherer = registry }
	open, token := newWorld(t, gatherer), newWorld(t, withToken, gatherer)
	bearer := header("Authorization", "Bearer "+adminToken)
	for path, contains := range map[string]string{"/lag": `"state": "stuck",`, "/metrics": "clerksync_test 0"} {
		answer := open.do("GET", path)
		require.Equal(t, http.StatusOK, answer.Code, path)
		require.Contains(t, answer.Body.String(), contains)
		require.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
		require.Equal(t, http.StatusForbidden, open.do("GET", path, host("attacker.example")).Code, path)
		require.Equal(t, http.StatusForbidden, open.do("GET", path, header("Sec-Fetch-Site", "cross-site")).Code, path)
		require.Equal(t, http.StatusMethodNotAllowed, open.do("POST", path).Code, path)

		require.Equal(t, http.StatusOK, token.do("GET", path, bearer).Code, path)
		require.Equal(t, http.StatusUnauthorized, token.do("GET", path).Code, path)
	}
	require.Equal(t, "application/json", open.do("GET", "/lag").Header().Get("Content-Type"))
}

// TestNoDashboard: a process without an event log says what it has.
func TestNoDashboard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *admin.Options) { o.Log = nil })
	for _, path := range []string{"/", "/lag", "/events"} {
		answer := w.do("GET", path)
		require.Equal(t, http.StatusNotFound, answer.Code)
		require.Equal(t, "a process with the role api alone has /metrics, /readyz and /healthz only; the dashboard and /lag are on a receiver or a worker\n", answer.Body.String())
	}
	require.Equal(t, http.StatusOK, w.do("GET", "/metrics").Code)
	require.Equal(t, http.StatusMethodNotAllowed, w.do("POST", "/lag").Code)
}
