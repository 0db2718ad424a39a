package monitor

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

// TestWatch measures by itself from its start on, and tells who listens.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	applied := promauto.With(registry).NewCounterVec(prometheus.CounterOpts{Name: "clerksync_applied_total"}, []string{"outcome"})
	applied.WithLabelValues("applied")
	watch := NewWatch(w.meter(), registry)
	require.Nil(t, watch.Latest())
	ear, cancel := watch.Subscribe()
	watch.Start()
	<-ear
	require.NotNil(t, watch.Latest())
	require.NoError(t, watch.Stop(t.Context()))
	n := len(watch.History())
	require.Positive(t, n)

	applied.WithLabelValues("applied").Add(10)
	watch.take(t.Context())
	watch.take(t.Context())
	<-ear // one for both
	select {
	case <-ear:
		t.Fatal("nothing happened since")
	default:
	}
	history := watch.History()
	require.Len(t, history, n+2)
	require.Positive(t, history[n].Outcomes["applied"])
	require.Zero(t, history[n+1].Outcomes["applied"])
	require.Nil(t, history[n].Received, "there is no receiver here")
	cancel()
	watch.take(t.Context())
	select {
	case <-ear:
		t.Fatal("nobody listens")
	default:
	}
}

// TestHistoryIsBounded.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watch := NewWatch(w.meter(), prometheus.NewRegistry())
	watch.history = make([]Sample, historyLength)
	watch.take(t.Context())
	history := watch.History()
	require.Len(t, history, historyLength)
	require.False(t, history[historyLength-1].At.IsZero(), "the newest is last")
}

// TestLagsInTheHistory are there when something was applied, and missing otherwise: a
// line that goes on would tell of events that there were none.
func TestLagsInTheHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker("first", w.store.Apply)
	w.emit(1, time.Second)
	m := w.meter()
	watch := NewWatch(m, prometheus.NewRegistry())
	testkit.Eventually(t, "a lag is seen", func() (bool, any) {
		watch.take(t.Context())
		history := watch.History()
		return history[len(history)-1].EndToEnd != nil, len(history)
	})
	watch.take(t.Context())
	history := watch.History()
	require.Nil(t, history[len(history)-1].EndToEnd)
	require.NotNil(t, watch.Latest().EndToEnd, "the last is known still")
}

// TestLearn learns from a real log; one that is a moment old knows no night.
func TestLearn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(fewEvents+5, 0)
	m := w.meter()
	require.Nil(t, w.measure(m).Silence.Limit, "nothing was learned yet")
	require.NoError(t, m.Learn(t.Context()))
	r := w.measure(m)
	require.InDelta(t, youngLimit.Seconds(), *r.Silence.Limit, 0)
	require.Positive(t, *r.Silence.UsualGap)
	require.Less(t, r.Silence.Seconds, testkit.Patience.Seconds())
	require.Equal(t, InStep, r.State)

	m.recent.events[len(m.recent.events)-1].received = time.Now().Add(-13 * time.Hour)
	r = w.measure(m)
	require.Equal(t, Silent, r.State)
	require.Regexp(t, `^silent: no event for 13 h, usual gap \d+ ms; is the endpoint enabled in the Clerk dashboard\?$`, r.Verdict)
}

// TestHandlerOfLag is never kept by anybody in between.
func TestHandlerOfLag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := Handler(Options{Meter: w.meter(), Gatherer: prometheus.NewRegistry(), Local: true})
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest("GET", "/lag", nil))
	require.Equal(t, 200, answer.Code)
	require.Equal(t, "application/json", answer.Header().Get("Content-Type"))
	require.Equal(t, "no-store", answer.Header().Get("Cache-Control"))
	require.Contains(t, answer.Body.String(), `"in_step": true,`)
}

// TestOtherMethods of what is not the dashboard's are refused before it sees them.
func TestOtherMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := Handler(Options{Meter: w.meter(), Gatherer: prometheus.NewRegistry(), Local: true, Dashboard: http.NotFoundHandler()})
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/lag"} {
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, httptest.NewRequest("POST", path, nil))
		require.Equal(t, 405, answer.Code, path)
		require.Equal(t, "GET, HEAD", answer.Header().Get("Allow"))
	}
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 404, answer.Code, "the rest is the dashboard's")
}
