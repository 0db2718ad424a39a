package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/loadtest"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestPrintLoad(t *testing.T) {
	t.Parallel()
	r := &loadtest.Result{
		Limit: loadtest.AtWorker, Verdict: "480/s accepted, but events wait before the worker: 9000 at the end", Fix: "run more workers",
		Target: new(500.), Rate: 480, Seconds: 30, Accepted: 14400, NotSent: 600,
		Answers: []loadtest.Answer{{Status: 0, Reason: "timeout", Events: 2}, {Status: 204, Events: 14400}, {Status: 503, Reason: "busy", Events: 1}},
		Answer:  &loadtest.Latency{P50: 0.002, P90: 0.01, P99: 1.5, Max: 2}, Service: &loadtest.Latency{P50: 0.001, P90: 0.005, P99: 0.02, Max: 2},
		EndToEnd: &lag.Quantiles{P50: 4, P99: 11, Events: 5000}, Pending: new(uint64(9000)),
		Left: loadtest.Left{Events: 14401, Run: "abc", Tombstones: 1},
	}
	var out strings.Builder
	printLoad(&out, r, true)
	require.Equal(t, `480/s accepted, but events wait before the worker: 9000 at the end
  → run more workers

rate          480/s of 500/s: 14400 events accepted in 30 s
              600 were due and not sent: every connection was busy
answer        p50 2.0 ms  p90 10 ms  p99 1.5 s  max 2.0 s  after it was due
              p50 1.0 ms  p90 5.0 ms  p99 20 ms  max 2.0 s  after it was sent
answers       0 timeout: 2, 204: 14400, 503 busy: 1
end to end    p50 4.0 s  p99 11 s  of 5000 events
pending       9000 after the last answer, and not all were settled at the end
left          14401 events in the event log, until its retention; 1 tombstone, user_loadtest_abc_…
`, out.String())
}

// TestLoadInTheProgressBar: the bar has the latency and the failures.
func TestLoadInTheProgressBar(t *testing.T) {
	t.Parallel()
	test, err := loadtest.New(loadtest.Options{Secret: "whsec_" + strings.Repeat("AAAA", 8)})
	require.NoError(t, err)
	out := &testkit.Output{}
	stop := newProgress(out, "events", 10, "sent").showLoad(test)
	testkit.Eventually(t, "the bar is drawn", func() (bool, any) {
		return strings.Contains(out.String(), "sent, p99 0 ms, 0 failed"), out.String()
	})
	stop()
}
