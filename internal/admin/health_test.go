package admin_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
)

// TestHealthIsForEverybody: without a token, by any name of the host; and it does not say
// why.
func TestHealthIsForEverybody(t *testing.T) {
	t.Parallel()
	var broken error
	checks := []admin.Check{
		{Name: "event_log", Needed: true, Ready: func(context.Context) error { return broken }},
		{Name: "postgresql", Ready: func(context.Context) error { return errors.New("secret address") }},
	}
	for _, w := range []*world{
		newWorld(t, func(o *admin.Options) { o.Checks = checks }),
		newWorld(t, withToken, func(o *admin.Options) { o.Checks, o.Local = checks, false }),
	} {
		broken = nil
		other := host("10.1.2.3:8081")
		require.Equal(t, "ok\n", w.do("GET", "/healthz", other).Body.String())
		answer := w.do("GET", "/readyz", other)
		require.Equal(t, http.StatusOK, answer.Code)
		require.JSONEq(t, `{"ready":true,"checks":{"event_log":"ok","postgresql":"unavailable"}}`, answer.Body.String())
		broken = errors.New("secret address")
		answer = w.do("GET", "/readyz", other)
		require.Equal(t, http.StatusServiceUnavailable, answer.Code)
		require.JSONEq(t, `{"ready":false,"checks":{"event_log":"unavailable","postgresql":"unavailable"}}`, answer.Body.String())
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
	for path, contains := range map[string]string{"/lag": `"in_step": true,`, "/metrics": "clerksync_test 0"} {
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

// TestGuessesAreLimitedByAddress: who guesses is refused everywhere, and keeps nobody else
// out.
func TestGuessesAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withToken)
	from := func(address string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = address } }
	paths := []string{"/lag", "/metrics", "/events"}
	for i := range 10 {
		path := paths[i%len(paths)]
		require.Equal(t, http.StatusUnauthorized, w.do("GET", path, from("192.0.2.1:1000"), header("Authorization", "Bearer wrong")).Code)
	}
	bearer := header("Authorization", "Bearer "+adminToken)
	for _, path := range paths {
		answer := w.do("GET", path, from("192.0.2.1:2000"), bearer)
		require.Equal(t, http.StatusTooManyRequests, answer.Code, path)
		require.Equal(t, "3", answer.Header().Get("Retry-After"))
		require.Equal(t, http.StatusOK, w.do("GET", path, from("192.0.2.2:1000"), bearer).Code, path)
	}
}
