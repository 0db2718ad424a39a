package probe

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

// linesOf parses logged lines.
func linesOf(o *testkit.Output) []string { return strings.Split(strings.TrimSpace(o.String()), "\n") }

// TestProber: metrics count every result; the log has a line when failures begin and end.
func TestProber(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	d.work(testkit.Store(t).Apply, nil)
	registry, log := prometheus.NewRegistry(), &testkit.Output{}
	p := New(Options{Probe: *d.probe(), Every: 5 * time.Millisecond, Registry: registry, Logger: slog.New(slog.NewJSONHandler(log, nil))})
	require.Equal(t, map[string]float64{
		"ok": 0, "url": 0, "dns": 0, "connect": 0, "tls": 0, "redirect": 0, "answer": 0, "unauthorized": 0, "unavailable": 0,
		"not_stored": 0, "not_applied": 0, "log": 0,
	}, testkit.Values(t, registry, "clerksync_probes_total"), "a rate needs a zero to begin with")
	require.Empty(t, testkit.Values(t, registry, "clerksync_probe_duration_seconds"), "what is not known is missing")
	require.Empty(t, testkit.Values(t, registry, "clerksync_probe_last_success_timestamp_seconds"))

	before := time.Now()
	p.Start()
	await := func(result string, more float64) {
		t.Helper()
		since := testkit.Values(t, registry, "clerksync_probes_total")[result]
		testkit.Eventually(t, "probes end with "+result, func() (bool, any) {
			got := testkit.Values(t, registry, "clerksync_probes_total")
			return got[result] >= since+more, got
		})
	}
	await("ok", 3)
	d.put(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	await("answer", 3)
	d.put(func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, "/", http.StatusFound) })
	await("redirect", 2)
	d.front.Store(nil)
	await("ok", 3)
	require.NoError(t, p.Stop(t.Context()))
	require.NoError(t, p.Stop(t.Context()), "again")

	durations := testkit.Values(t, registry, "clerksync_probe_duration_seconds")
	require.Len(t, durations, 3)
	require.Greater(t, durations["receive"], 0.0)
	require.Greater(t, durations["queue"], 0.0)
	require.Greater(t, durations["total"], durations["receive"]+durations["queue"])
	last := testkit.Values(t, registry, "clerksync_probe_last_success_timestamp_seconds")[""]
	require.GreaterOrEqual(t, last, float64(before.Unix()))
	require.LessOrEqual(t, last, float64(time.Now().Unix()+1))

	require.Len(t, linesOf(log), 2, "not every time: %v", linesOf(log))
	var begin, end map[string]any
	require.NoError(t, json.Unmarshal([]byte(linesOf(log)[0]), &begin))
	require.NoError(t, json.Unmarshal([]byte(linesOf(log)[1]), &end))
	require.Equal(t, "WARN the probe fails answer", strings.Join([]string{begin["level"].(string), begin["msg"].(string), begin["stopped_at"].(string)}, " "))
	require.Contains(t, begin["cause"], "answered 502")
	require.NotEmpty(t, begin["fix"])
	require.Equal(t, "INFO the probe passes again", end["level"].(string)+" "+end["msg"].(string))
}

// TestProberStopsInTheMiddle: a probe in progress is cancelled and not counted.
func TestProberStopsInTheMiddle(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	asked, registry := make(chan struct{}, 1), prometheus.NewRegistry()
	d.put(func(_ http.ResponseWriter, req *http.Request) {
		io.Copy(io.Discard, req.Body) // only then the end of the connection is seen
		asked <- struct{}{}
		<-req.Context().Done()
	})
	p := New(Options{Probe: *d.probe(), Every: time.Millisecond, Registry: registry, Logger: slog.New(slog.DiscardHandler)})
	p.Start()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	require.NoError(t, p.Stop(ctx))
	for result, n := range testkit.Values(t, registry, "clerksync_probes_total") {
		require.Zero(t, n, result)
	}
}
