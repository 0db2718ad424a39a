package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkServeMemory: the peak resident memory of clerksync serve with the embedded event
// log, at a steady rate and at full load, from 64 connections.
func BenchmarkServeMemory(b *testing.B) {
	b.Run("2000-per-second", func(b *testing.B) { serveMemory(b, 2000, 30) })
	b.Run("full-load", func(b *testing.B) { serveMemory(b, 0, 5) })
}

// serveMemory posts the given number of rounds. With a rate, a round takes a
// second; without, 20,000 events are posted in each as fast as it goes.
func serveMemory(b *testing.B, rate, rounds int) {
	perRound := rate
	if rate == 0 {
		perRound = 20_000
	}
	st := startPostgres(b)
	dir := b.TempDir()
	program := build(b, dir)
	config := st.Pool().Config().ConnConfig
	data := filepath.Join(dir, "data")
	serve := exec.Command(program, "serve", "--migrate")
	serve.Env = append(os.Environ(), "CLERK_WEBHOOK_SIGNING_SECRET="+secret, "CLERKSYNC_ADDR=127.0.0.1:0", "CLERKSYNC_ADMIN_ADDR=127.0.0.1:0",
		"CLERKSYNC_DATA_DIR="+data, "DATABASE_URL="+config.ConnString())
	serve.Stderr = os.Stderr
	if err := serve.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve.Wait() }()
	defer func() {
		serve.Process.Signal(syscall.SIGTERM)
		<-ended
	}()

	var running struct{ Endpoint string }
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for running.Endpoint == "" {
		file, err := os.ReadFile(filepath.Join(data, "running.json"))
		if err == nil {
			err = json.Unmarshal(file, &running)
		}
		select {
		case e := <-ended:
			b.Fatalf("serve ended: %v", e)
		case <-ctx.Done():
			b.Fatalf("serve is not ready: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	endpoint, err := url.Parse(running.Endpoint)
	if err != nil {
		b.Fatal(err)
	}
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var took time.Duration
	for round := range rounds {
		all := requests(b, fmt.Sprintf("M%d", round), perRound)
		if rate > 0 {
			<-second.C
		}
		took += post(b, endpoint.Host, all)
	}
	if rate == 0 {
		b.ReportMetric(float64(rounds*perRound)/took.Seconds(), "events/s")
	}
	peak, err := resident(serve.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(peak, "peak-MB")
	b.ReportMetric(0, "ns/op")
}

// build makes the program in a folder.
func build(b *testing.B, dir string) string {
	program := filepath.Join(dir, "clerksync")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/clerksync").CombinedOutput(); err != nil {
		b.Fatalf("build: %s", out)
	}
	return program
}

// resident returns the peak resident memory of a process, in MB.
func resident(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	if !found {
		return 0, errors.New("it has ended")
	}
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	return float64(kb) / 1024, err
}
