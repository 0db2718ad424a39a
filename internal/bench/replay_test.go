package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
)

// million is the number of events in the log, each of another person.
const million = 1_000_000

// BenchmarkReplay: a clerksync replay process of a million events into empty tables,
// against a bare bulk upsert of the same rows; its peak resident memory; and the time to
// find the events of one person among the million.
func BenchmarkReplay(b *testing.B) {
	st := startPostgres(b)
	server, log := startNATS(b, true)
	for i := 0; i < million; i += 5000 {
		fill(b, log, i, 5000)
	}
	program := build(b, b.TempDir())
	peak := 0.0
	var rates [2][]float64
	for range max(b.N, 2) {
		truncate(b, st)
		took, mb := replayAll(b, program, server.URL(), st.Pool().Config().ConnString())
		peak = max(peak, mb)
		rates[0] = append(rates[0], million/took.Seconds())
		truncate(b, st)
		bare, _ := bareUpsert(b, st, million, generated(b))
		rates[1] = append(rates[1], million/bare.Seconds())
	}
	for side, name := range []string{"replay/s", "bare/s"} {
		slices.Sort(rates[side])
		b.ReportMetric(rates[side][len(rates[side])/2], name)
	}
	b.ReportMetric(rates[0][len(rates[0])/2]/rates[1][len(rates[1])/2], "ratio")
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(findUsers(b, log), "find-user-ms")
	b.ReportMetric(0, "ns/op")
}

// replayAll runs the program and measures the whole process.
func replayAll(b *testing.B, program, natsURL, databaseURL string) (time.Duration, float64) {
	cmd := exec.Command(program, "replay", "--json")
	cmd.Env = append(os.Environ(), "NATS_URL="+natsURL, "DATABASE_URL="+databaseURL)
	started := time.Now()
	out, peak := watched(b, cmd)
	took := time.Since(started)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var counts replay.Counts
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &counts); err != nil {
		b.Fatal(err)
	}
	if counts != (replay.Counts{Applied: million}) {
		b.Fatalf("replayed: %+v", counts)
	}
	return took, peak
}

// watched runs a program, and returns its output and its peak resident memory in MB.
func watched(b *testing.B, cmd *exec.Cmd) (string, float64) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	peak := 0.0
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				b.Fatalf("%s: %v", cmd.Args[1], err)
			}
			running = false
		case <-tick.C: // what the kernel tells after the end has what this process had when it forked
			if mb, err := resident(cmd.Process.Pid); err == nil {
				peak = max(peak, mb)
			}
		}
	}
	return out.String(), peak
}

// findUsers returns the median time to read all events of one person, in ms.
func findUsers(b *testing.B, log *eventlog.Log) float64 {
	var times []float64
	for i := range 25 {
		user := fmt.Sprintf("user_D%09d", (i*39_916_801)%million)
		started := time.Now()
		scan, err := log.Events(context.Background(), eventlog.Filter{User: user}, false)
		if err != nil {
			b.Fatal(err)
		}
		found := 0
		for {
			m, err := scan.Next(context.Background())
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if m.Event.Envelope.UserID != user {
				b.Fatalf("an event of %s", m.Event.Envelope.UserID)
			}
			found++
		}
		times = append(times, float64(time.Since(started).Microseconds())/1000)
		scan.Close()
		if found != 1 {
			b.Fatalf("%d events", found)
		}
	}
	slices.Sort(times)
	return times[len(times)/2]
}
