package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
)

// BenchmarkMillionPeople: the cost of a log with a million distinct people: heap after
// storing and after a restart, size of the files, the publish rate against an empty log,
// and the start time after a kill and after an orderly stop.
func BenchmarkMillionPeople(b *testing.B) {
	const part = 50_000
	dir := b.TempDir()
	before := heapMB()
	server, log := startNATSIn(b, filepath.Join(dir, "nats"), true)
	publish := func(from, n int) time.Duration {
		began := time.Now()
		for i := from; i < from+n; i += 5000 {
			fill(b, log, i, 5000)
		}
		return time.Since(began)
	}
	empty := publish(0, part)
	publish(part, million-part)
	full := publish(million, part)
	b.ReportMetric(heapMB()-before, "running-MB")
	forgetIDs(b, server)
	b.ReportMetric(heapMB()-before, "subjects-MB")
	b.ReportMetric(part/empty.Seconds(), "empty/s")
	b.ReportMetric(part/full.Seconds(), "full/s")
	b.ReportMetric(empty.Seconds()/full.Seconds(), "ratio")

	// A killed server leaves its files as they are at any time.
	killed := filepath.Join(dir, "killed")
	if out, err := exec.Command("cp", "-r", filepath.Join(dir, "nats"), killed).CombinedOutput(); err != nil {
		b.Fatalf("copy: %s", out)
	}
	log.Close()
	server.Stop()
	b.ReportMetric(directoryMB(b, killed)*1024*1024/(million+part), "bytes/event")
	for _, start := range []struct{ dir, metric string }{{killed, "start-after-kill-s"}, {filepath.Join(dir, "nats"), "start-s"}} {
		before := heapMB()
		began := time.Now()
		n, err := embeddednats.Start(b.Context(), embeddednats.Options{Dir: start.dir})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), start.metric)
		b.ReportMetric(heapMB()-before, "started-MB")
		n.Stop()
	}
	b.ReportMetric(0, "ns/op")
}

// forgetIDs makes the server forget the ids of the last ten minutes, as time would, to
// measure the events alone.
func forgetIDs(b *testing.B, server *embeddednats.Server) {
	nc, err := server.Connect()
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	stream, err := js.Stream(b.Context(), eventlog.Stream)
	if err != nil {
		b.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.Duplicates = 100 * time.Millisecond
	if _, err := js.UpdateStream(b.Context(), config); err != nil {
		b.Fatal(err)
	}
	// The block cache is dropped ten seconds after its last use.
	<-time.After(12 * time.Second)
}

// heapMB returns the heap after a garbage collection.
func heapMB() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

func directoryMB(b *testing.B, dir string) float64 {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(total) / (1 << 20)
}
