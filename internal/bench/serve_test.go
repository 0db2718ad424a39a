package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
	program := serveProgram(b, st.Pool().Config().ConnConfig.ConnString())
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var took time.Duration
	for round := range rounds {
		all := requests(b, fmt.Sprintf("M%d", round), perRound)
		if rate > 0 {
			<-second.C
		}
		took += post(b, program.addr, all)
	}
	if rate == 0 {
		b.ReportMetric(float64(rounds*perRound)/took.Seconds(), "events/s")
	}
	peak, err := resident(program.pid)
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
