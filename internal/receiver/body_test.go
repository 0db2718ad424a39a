package receiver

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
)

// unverified opens a connection with the head of a delivery that nobody signed. Its
// headers are good, so that its body is read.
func unverified(addr string, announced int) (net.Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", clerk.WebhookPath, announced)
	headers(secretX, "msg_x", now, nil).Write(&head)
	head.WriteString("\r\n")
	_, err = conn.Write(head.Bytes())
	return conn, err
}

// held returns the bodies that arrive and the bytes of all.
func (e *endpoint) held() (arriving, bytes int) {
	b := e.receiver.bodies
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.usual.Len() + b.large.Len(), maxHeld - b.free
}

// TestSlowBodiesKeepNobodyOut: 2,000 connections that send a byte a second, for two
// generations of the time that a body has, beside a client whose deliveries are good. It
// needs 4,100 files; Go raises the soft limit by itself.
func TestSlowBodiesKeepNobodyOut(t *testing.T) {
	const slow, duration = 2000, 2 * bodyTimeout
	e := start(t)
	addr := e.server.Listener.Addr().String()

	sent, most := 0, 0
	deliver := func(duration time.Duration) (p50, p99 time.Duration) {
		var took []time.Duration
		for began := time.Now(); time.Since(began) < duration; {
			sent++
			id, body := fmt.Sprintf("msg_%d", sent), user("user_1")
			h := headers(secretA, id, now, body)
			before := time.Now()
			r := e.post(h, bytes.NewReader(body))
			took = append(took, time.Since(before))
			require.Equal(t, 204, r.status, r.text)
			arriving, held := e.held()
			most = max(most, arriving)
			require.Less(t, held, maxHeld/2)
		}
		slices.Sort(took)
		return took[len(took)/2], took[len(took)*99/100]
	}
	_, alone := deliver(time.Second) // the machine may be busy with other tests

	conns := make([]net.Conn, slow)
	dial := func(i int) {
		if conns[i] != nil {
			conns[i].Close()
		}
		var err error
		conns[i], err = unverified(addr, 100_000)
		require.NoError(t, err)
	}
	for i := range conns {
		dial(i)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		const parts = 50 // of a second, so that they do not come in bursts
		tick := time.NewTicker(time.Second / parts)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-done:
				return
			}
			for i := n % parts; i < slow; i += parts {
				if i/parts%3 == n/parts%3 { // it was cut off, or is about to be
					dial(i)
				} else {
					conns[i].Write([]byte("{"))
				}
			}
		}
	}()

	p50, p99 := deliver(duration)
	close(done)
	<-ended
	for _, conn := range conns {
		conn.Close()
	}
	t.Logf("%d deliveries beside %d slow bodies: p50 %v, p99 %v; p99 alone %v", sent, most, p50, p99, alone)
	require.Greater(t, most, slow/2, "bodies that arrive at once")
	if !raceDetector(t) { // 2,000 clients in this process cost it more than the receiver
		require.Less(t, p99, max(50*time.Millisecond, 10*alone))
	}
	require.Equal(t, float64(sent), e.counts("clerksync_received_total")["stored"])
	require.Zero(t, e.counts("clerksync_refused_total")[ReasonBusy])
}

// raceDetector reports whether this program looks for data races.
func raceDetector(t *testing.T) bool {
	info, ok := debug.ReadBuildInfo()
	require.True(t, ok)
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// TestLargeBodiesHoldNoMoreThanTheBudget: 500 connections send all of 1 MiB but the last
// byte. The oldest give way, and a delivery that is good is taken all the time.
func TestLargeBodiesHoldNoMoreThanTheBudget(t *testing.T) {
	const slow = 500
	e := startOn(t, &recorder{})
	addr := e.server.Listener.Addr().String()
	part := bytes.Repeat([]byte{'x'}, clerk.MaxBody-1)

	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	before := memory.HeapAlloc

	var all sync.WaitGroup
	for range slow {
		all.Go(func() {
			conn, err := unverified(addr, clerk.MaxBody)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.Write(part)          // fails when it gave way
			io.Copy(io.Discard, conn) // until it is cut off
		})
	}
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()

	var most, heap int
	for i, running := 0, true; running; i++ {
		select {
		case <-ended:
			running = false
		default:
		}
		require.Equal(t, 204, e.deliver(secretA, fmt.Sprintf("msg_%d", i), user("user_1")))
		_, held := e.held()
		most = max(most, held)
		runtime.GC()
		runtime.ReadMemStats(&memory)
		heap = max(heap, int(memory.HeapAlloc)-int(before))
	}
	t.Logf("held %d MiB, heap %d MiB, of the system %d MiB", most>>20, heap>>20, memory.Sys>>20)
	require.Greater(t, most, maxHeld/2, "the budget was put to use")
	require.LessOrEqual(t, most, maxHeld)
	require.Less(t, heap, 3*maxHeld, "with the garbage of growing and with the connections; all bodies are 500 MiB")
	require.Zero(t, e.counts("clerksync_received_total")["unauthorized"], "none arrived whole")
}

// TestBodyHasItsTime: a body that does not arrive is refused after 3 s, and one that did
// leaves the log its time.
func TestBodyHasItsTime(t *testing.T) {
	t.Parallel()
	log := &blocked{entered: make(chan struct{}, 1), letGo: make(chan struct{})}
	e := startOn(t, log)
	answered := make(chan int, 1)
	go func() {
		r, err := e.try(http.MethodPost, headers(secretA, "msg_1", now, user("user_1")), bytes.NewReader(user("user_1")))
		if err != nil {
			t.Error(err)
		}
		answered <- r.status
	}()
	<-log.entered
	before := time.Now()
	conn, err := unverified(e.server.Listener.Addr().String(), 1000)
	require.NoError(t, err)
	defer conn.Close()
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answer), "400 Bad Request")
	require.Contains(t, string(answer), "the body did not arrive whole")
	require.WithinRange(t, time.Now(), before.Add(bodyTimeout), before.Add(2*bodyTimeout))
	// The delivery that waits began earlier.
	log.letGo <- struct{}{}
	require.Equal(t, 204, <-answered)
}

// TestBudget: the oldest body gives way, and neither one that is whole nor a younger one.
// Nobody takes its memory before it is returned.
func TestBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := http.NewResponseController(nil)
		b := newBudget(100)
		oldest, whole, young := b.open(conn), b.open(conn), b.open(conn)
		require.True(t, oldest.grow(40))
		require.True(t, whole.grow(40))
		require.True(t, whole.whole())
		require.True(t, young.grow(20))
		require.Zero(t, b.free)

		next := b.open(conn)
		grown := make(chan bool, 1)
		go func() { grown <- next.grow(30) }()
		synctest.Wait()
		require.Empty(t, grown, "it waits for the oldest")
		require.False(t, oldest.grow(1))
		require.False(t, oldest.whole())
		oldest.close()
		require.True(t, <-grown)
		require.Equal(t, 10, b.free)

		last := b.open(conn)
		require.False(t, last.grow(61), "more than the others can return")
		require.True(t, young.gaveWay && next.gaveWay)
		for _, d := range []*body{young, next, last, whole} {
			d.close()
		}
		requireFree(t, b, 100)
	})
}

// TestBudgetOfLargeBodies: they give way before those of the usual size, and leave a
// quarter to them.
func TestBudgetOfLargeBodies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := http.NewResponseController(nil)
		b := newBudget(100)
		slow, large := b.open(conn), b.open(conn)
		require.True(t, slow.grow(10))
		require.True(t, large.grow(10))
		require.True(t, large.grow(55))
		require.Equal(t, 25, b.free)
		other := b.open(conn)
		require.True(t, other.grow(10), "of the reserve")

		grown := make(chan bool, 1)
		go func() { grown <- other.grow(10) }()
		synctest.Wait()
		require.True(t, large.gaveWay, "the large one that began first, and not the oldest of all")
		require.False(t, slow.gaveWay)
		large.close()
		require.True(t, <-grown)
		require.False(t, other.grow(60), "the only large one")
		require.True(t, slow.whole())
		other.close()
		slow.close()
		requireFree(t, b, 100)
	})
}

func requireFree(t *testing.T, b *budget, bytes int) {
	t.Helper()
	require.Equal(t, bytes, b.free)
	require.Zero(t, b.leaving)
	require.Zero(t, b.usual.Len())
	require.Zero(t, b.large.Len())
}
