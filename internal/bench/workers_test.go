package bench

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/projector"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// BenchmarkWorkers: two workers on a backlog, against one. Where a worker waits for
// PostgreSQL, here 5 ms in each direction and for one small batch at a time, the second adds
// at least half of the first; where the machine is the bound, it takes nothing.
func BenchmarkWorkers(b *testing.B) {
	b.Run("waiting", func(b *testing.B) { workers(b, 20_000, 1, 50, 5*time.Millisecond, 1.5) })
	c := config.Default()
	b.Run("full-load", func(b *testing.B) { workers(b, 100_000, c.Appliers, c.Batch, 0, 0.97) })
}

// workers drains n events by two workers and by one, and fails when the ratio of the rates is
// less than least.
func workers(b *testing.B, n, appliers, batch int, delay time.Duration, least float64) {
	st := startPostgres(b)
	databaseURL, err := url.Parse(st.Pool().Config().ConnString())
	if err != nil {
		b.Fatal(err)
	}
	proxy := testkit.NewProxy(b, databaseURL.Host)
	proxy.Delay(delay)
	databaseURL.Host = proxy.Addr()
	side := func(count int) float64 {
		truncate(b, st)
		server, log := startNATS(b, true)
		for start := 0; start < n; start += 5000 {
			fill(b, log, start, 5000)
		}
		var all []*projector.Projector
		for range count {
			nc, err := server.Connect()
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			log, err := eventlog.Attach(b.Context(), nc, "")
			if err != nil {
				b.Fatal(err)
			}
			defer log.Close()
			mine, err := store.Open(b.Context(), store.Options{URL: databaseURL.String(), Schema: config.Default().Schema, MaxConns: int32(appliers)})
			if err != nil {
				b.Fatal(err)
			}
			defer mine.Close()
			all = append(all, projector.New(projector.Options{Log: log, Apply: mine.Apply, Appliers: appliers, Batch: batch}))
		}
		started := time.Now()
		for _, p := range all {
			p.Start()
		}
		awaitApplied(b, log, st.Pool(), n)
		took := time.Since(started)
		for _, p := range all {
			if err := p.Stop(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		return float64(n) / took.Seconds()
	}
	var rates [2][]float64
	for round := range max(b.N, 5) {
		for k := range 2 { // in turns, and each first in turn
			i := (round + k) % 2
			rates[i] = append(rates[i], side(i+1))
		}
	}
	ratio := median(rates[1]) / median(rates[0])
	if ratio < least {
		b.Errorf("two workers apply %.2f times as much as one, and should at least %.2f", ratio, least)
	}
	b.ReportMetric(median(rates[0]), "one/s")
	b.ReportMetric(median(rates[1]), "two/s")
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(0, "ns/op")
}
