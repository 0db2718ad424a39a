package loadtest

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/signing"
)

// BenchmarkGenerator: the processor time of signing and sending an event of 2 KB, and of a
// server in the same process that reads and answers it at the least cost. Above 200 µs,
// 5,000 events per second would take more than a core, and it fails.
func BenchmarkGenerator(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go sink(conn)
		}
	}()
	o := Options{URL: "http://" + l.Addr().String() + clerk.WebhookPath, Connections: 64, BodySize: 2048}
	signer, err := signing.NewSigner(secret)
	require.NoError(b, err)
	s, traffic := newSender(&o, signer), newTraffic(&o)
	defer s.client.CloseIdleConnections()
	for b.Loop() {
		const events = 20_000
		t, before := newTally(), processorTime(b)
		s.send(b.Context(), plan{events: events, event: traffic.event}, t)
		require.EqualValues(b, events, t.accepted())
		cost := (processorTime(b) - before) / events
		b.ReportMetric(float64(cost.Nanoseconds())/1000, "µs-CPU/event")
		b.ReportMetric(events/t.ended.Sub(t.began).Seconds(), "events/s")
		b.ReportMetric(0, "ns/op")
		require.Less(b, cost, 200*time.Microsecond)
	}
}

// sink answers 204 to every request on a connection.
func sink(conn net.Conn) {
	defer conn.Close()
	r, length := bufio.NewReader(conn), 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		if value, is := strings.CutPrefix(string(line), "Content-Length: "); is {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		if len(line) > 2 {
			continue
		}
		if _, err := io.CopyN(io.Discard, r, int64(length)); err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n"); err != nil {
			return
		}
	}
}

func processorTime(tb testing.TB) time.Duration {
	var usage syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
