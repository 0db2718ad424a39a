package bench

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/lag"
)

// BenchmarkMeasuring: the cost of measuring the lag for the projector: histograms, the
// watch, and a scrape every second, fifteen times as often as Prometheus.
func BenchmarkMeasuring(b *testing.B) {
	const n = 50_000
	st := startPostgres(b)
	side := func(measured bool) (wall, processor time.Duration) {
		truncate(b, st)
		_, log := startNATS(b, true)
		for start := 0; start < n; start += 5000 {
			fill(b, log, start, 5000)
		}
		before := processorTime(b)
		if !measured {
			wall = drain(b, log, st, n, nil)
			return wall, processorTime(b) - before
		}
		registry := prometheus.NewRegistry()
		meter := lag.NewMeter(log, st, true, slog.New(slog.DiscardHandler))
		meter.Register(registry)
		watch := lag.NewWatch(meter, registry)
		watch.Start()
		ctx, cancel := context.WithCancel(b.Context())
		scraped := make(chan struct{})
		go func() {
			defer close(scraped)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					if _, err := registry.Gather(); err != nil {
						b.Error(err)
					}
				}
			}
		}()
		wall = drain(b, log, st, n, registry)
		cancel()
		<-scraped
		if err := watch.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
		return wall, processorTime(b) - before
	}
	var wall, processor [2][]float64
	for round := range max(b.N, 7) {
		for k := range 2 { // in turns, and each first in turn
			i := (round + k) % 2
			w, p := side(i == 0)
			wall[i], processor[i] = append(wall[i], w.Seconds()), append(processor[i], p.Seconds())
		}
	}
	ratio := median(wall[1]) / median(wall[0])
	if ratio < 0.97 {
		b.Errorf("measuring takes %.1f %% of the throughput, and may take 3", 100*(1-ratio))
	}
	b.ReportMetric(n/median(wall[0]), "measured/s")
	b.ReportMetric(n/median(wall[1]), "unmeasured/s")
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(median(processor[1])/median(processor[0]), "cpu-ratio")
	b.ReportMetric(0, "ns/op")
}
