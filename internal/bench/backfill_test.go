package bench

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/fakeclerk"
)

// BenchmarkBackfill: a clerksync backfill process of 50,000 users at a Clerk on this
// machine without a rate limit, until the last row is there, against the projector on a
// backlog of as many events and a bare bulk upsert of as many rows; the process alone; and
// its peak resident memory.
func BenchmarkBackfill(b *testing.B) {
	const n = 50_000
	st := startPostgres(b)
	program := build(b, b.TempDir())
	instance := fakeclerk.New(fakeclerk.Options{Seed: 1, Bulk: n})
	instance.SetTraps(fakeclerk.Traps{Unlimited: true})
	api := httptest.NewServer(instance)
	defer api.Close()
	peak := 0.0
	var rates [4][]float64
	for range max(b.N, 3) {
		truncate(b, st)
		server, log := startNATS(b, false)
		p := newProjector(log, st, prometheus.NewRegistry())
		p.Start()
		started := time.Now()
		cmd := exec.Command(program, "backfill", "--json", "--rate", "1000000")
		cmd.Env = append(os.Environ(), "NATS_URL="+server.URL(), "DATABASE_URL="+st.Pool().Config().ConnString(),
			"CLERK_API_URL="+api.URL, "CLERK_SECRET_KEY="+instance.SecretKey())
		out, mb := watched(b, cmd)
		rates[1] = append(rates[1], n/time.Since(started).Seconds())
		peak = max(peak, mb)
		awaitApplied(b, log, st.Pool(), n)
		rates[0] = append(rates[0], n/time.Since(started).Seconds())
		if err := p.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
		var result struct {
			Users    int  `json:"users"`
			Complete bool `json:"complete"`
		}
		if err := json.Unmarshal([]byte(out), &result); err != nil || !result.Complete || result.Users != n {
			b.Fatalf("%s: %v", out, err)
		}
		truncate(b, st)
		rates[2] = append(rates[2], n/bareUpsert(b, st, n).Seconds())
		truncate(b, st)
		_, filled := startNATS(b, true)
		for i := 0; i < n; i += 5000 {
			fill(b, filled, i, 5000)
		}
		rates[3] = append(rates[3], n/drain(b, filled, st, n, prometheus.NewRegistry()).Seconds())
	}
	for side, name := range []string{"backfill/s", "published/s", "bare/s", "drain/s"} {
		slices.Sort(rates[side])
		b.ReportMetric(rates[side][len(rates[side])/2], name)
	}
	b.ReportMetric(rates[0][len(rates[0])/2]/rates[2][len(rates[2])/2], "ratio")
	b.ReportMetric(rates[0][len(rates[0])/2]/rates[3][len(rates[3])/2], "drain-ratio")
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(0, "ns/op")
}
