package receiver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// requireUnavailable checks a 503 with Retry-After.
func requireUnavailable(t *testing.T, r reply) {
	t.Helper()
	require.Equal(t, 503, r.status, r.text)
	require.Equal(t, "5", r.header.Get("Retry-After"))
	require.Equal(t, "the event log is not available, try again\n", r.text)
}

// TestLogUnreachable: the answer does not wait for a stopped server.
func TestLogUnreachable(t *testing.T) {
	t.Parallel()
	e := start(t)
	require.Equal(t, 204, e.deliver(secretA, "msg_1", user("user_1")))
	e.nats.Stop()
	testkit.Eventually(t, "the client sees that the server is gone", func() (bool, any) { return !e.nc.IsConnected(), e.nc.Status() })

	before := time.Now()
	body := user("user_2")
	requireUnavailable(t, e.post(headers(secretA, "msg_2", now, body), bytes.NewReader(body)))
	require.Less(t, time.Since(before), 2*time.Second, "promptly: Svix has better to do than to wait")

	// A type that is not stored is still acknowledged, and an unsigned delivery refused.
	require.Equal(t, 204, e.deliver(secretA, "msg_3", event("session.created", `{"id":"sess_1"}`)))
	require.Equal(t, 401, e.deliver(secretX, "msg_4", body))
	e.requireOutcomes(map[string]float64{"stored": 1, "unavailable": 1, "ignored": 1, "unauthorized": 1})
	require.Contains(t, e.logs.String(), `"msg":"deliveries are refused","reason":"unavailable","count":1,"err":"`)
}

// TestLogUnreachableForADeadLetter: an event that cannot be parked is not acknowledged.
func TestLogUnreachableForADeadLetter(t *testing.T) {
	t.Parallel()
	e := start(t)
	e.nats.Stop()
	testkit.Eventually(t, "the client sees that the server is gone", func() (bool, any) { return !e.nc.IsConnected(), e.nc.Status() })
	before := time.Now()
	requireUnavailable(t, e.post(headers(secretA, "msg_1", now, []byte(`{}`)), bytes.NewReader([]byte(`{}`))))
	require.Less(t, time.Since(before), 2*time.Second, "promptly")
	e.requireOutcomes(map[string]float64{"unavailable": 1})
}

// TestLogFull: a full log refuses new events, loses none, and accepts events again as soon
// as there is room.
func TestLogFull(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	log, err := eventlog.Open(t.Context(), nc, eventlog.Options{MaxBytes: 8 << 10})
	require.NoError(t, err)
	t.Cleanup(log.Close)
	e := startOn(t, log)
	e.js, err = jetstream.New(nc)
	require.NoError(t, err)

	stored := 0
	var full reply
	for full.status == 0 && stored < 100 {
		body := user(fmt.Sprintf("user_%d", stored))
		r := e.post(headers(secretA, fmt.Sprintf("msg_%d", stored), now, body), bytes.NewReader(body))
		if r.status == 204 {
			stored++
			continue
		}
		full = r
	}
	requireUnavailable(t, full)
	require.GreaterOrEqual(t, stored, 3, "8 KiB have room for some")
	e.requireStored(stored, 0)
	require.Equal(t, "msg_0", e.messages("CLERK_EVENTS")[0].Header.Get("Svix-Id"), "the oldest is there")

	require.Equal(t, 204, e.deliver(secretA, "msg_0", user("user_0")), "one that is there already needs no room")
	require.Equal(t, 204, e.deliver(secretA, "msg_dead", []byte(`{}`)), "dead letters have room of their own")

	stream, err := e.js.Stream(t.Context(), "CLERK_EVENTS")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(t.Context(), jetstream.WithPurgeSequence(2)))
	require.Equal(t, 204, e.deliver(secretA, fmt.Sprintf("msg_%d", stored), user("user_9")), "there is room again")
	e.requireStored(stored, 1)
	e.requireOutcomes(map[string]float64{"stored": float64(stored + 1), "unavailable": 1, "duplicate": 1, "parked": 1})
}

// TestLogFullForManyAtOnce: when only a part of a group fits, each event gets its own
// answer.
func TestLogFullForManyAtOnce(t *testing.T) {
	t.Parallel()
	nc := testkit.Connect(t, testkit.NATS(t))
	log, err := eventlog.Open(t.Context(), nc, eventlog.Options{MaxBytes: 8 << 10})
	require.NoError(t, err)
	t.Cleanup(log.Close)
	e := startOn(t, log)
	e.js, err = jetstream.New(nc)
	require.NoError(t, err)

	var mu sync.Mutex
	var all sync.WaitGroup
	statuses, want := map[int]int{}, map[string]bool{}
	for i := range 60 {
		id, body := fmt.Sprintf("msg_%d", i), user(fmt.Sprintf("user_%d", i))
		all.Go(func() {
			r, err := e.try("POST", headers(secretA, id, now, body), bytes.NewReader(body))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			statuses[r.status]++
			if r.status == 204 {
				want[id] = true
			}
		})
	}
	all.Wait()
	got := map[string]bool{}
	for _, m := range e.messages("CLERK_EVENTS") {
		got[m.Header.Get("Svix-Id")] = true
	}
	require.Equal(t, want, got, "what was acknowledged is there")
	require.Equal(t, 60, statuses[204]+statuses[503], "%v", statuses)
	require.Positive(t, statuses[204])
	require.Positive(t, statuses[503])
}

// blocked is a log that blocks until it is released or its context ends.
type blocked struct {
	entered chan struct{}
	letGo   chan struct{}
}

func (b *blocked) wait(ctx context.Context) error {
	b.entered <- struct{}{}
	select {
	case <-b.letGo:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", eventlog.ErrUnavailable, ctx.Err())
	}
}

func (b *blocked) Append(ctx context.Context, _ *clerk.Event) (eventlog.Stored, error) {
	return eventlog.Stored{Seq: 1}, b.wait(ctx)
}

func (b *blocked) Park(ctx context.Context, _ *clerk.Event, _ eventlog.Death) error {
	return b.wait(ctx)
}

// TestLogSlow: Svix gets an answer before it gives up.
func TestLogSlow(t *testing.T) {
	t.Parallel()
	e := startOn(t, &blocked{entered: make(chan struct{}, 2)}, func(o *Options) { o.Deadline = 30 * time.Millisecond })
	for i, body := range [][]byte{user("user_1"), []byte(`{}`)} {
		before := time.Now()
		requireUnavailable(t, e.post(headers(secretA, fmt.Sprintf("msg_%d", i), now, body), bytes.NewReader(body)))
		require.GreaterOrEqual(t, time.Since(before), 30*time.Millisecond)
	}
	e.requireOutcomes(map[string]float64{"unavailable": 2})
}

// TestDeadline: 10 s by default, to the millisecond.
func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, err := New(Options{
			Secrets: []string{secretA}, Log: &blocked{entered: make(chan struct{}, 1)}, Registry: prometheus.NewRegistry(),
		})
		require.NoError(t, err)
		before := time.Now()
		body := user("user_1")
		req := httptest.NewRequestWithContext(t.Context(), "POST", clerk.WebhookPath, bytes.NewReader(body))
		req.Header = headers(secretA, "msg_1", before, body)
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		require.Equal(t, 503, w.Code)
		require.Equal(t, 10*time.Second, time.Since(before))
	})
}

// TestCallerLeaves: the request of a client that hung up is cancelled.
func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	log := &blocked{entered: make(chan struct{}, 1)}
	e := startOn(t, log)
	ctx, leave := context.WithCancel(t.Context())
	body := user("user_1")
	req, err := http.NewRequestWithContext(ctx, "POST", e.server.URL+clerk.WebhookPath, bytes.NewReader(body))
	require.NoError(t, err)
	req.Header = headers(secretA, "msg_1", now, body)
	done := make(chan error, 1)
	go func() {
		resp, err := e.client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-log.entered
	leave()
	require.ErrorIs(t, <-done, context.Canceled)
	testkit.Eventually(t, "the request is given up", func() (bool, any) {
		counts := e.counts("clerksync_received_total")
		return counts["unavailable"] == 1, counts
	})
}

// TestBusy: beyond maxInFlight requests, the next gets a 503 at once; when they are done,
// it is accepted.
func TestBusy(t *testing.T) {
	t.Parallel()
	log := &blocked{entered: make(chan struct{}, maxInFlight+1), letGo: make(chan struct{})}
	e := startOn(t, log)
	var all sync.WaitGroup
	codes := make(chan int, maxInFlight)
	for i := range maxInFlight {
		body := user("user_1")
		req := httptest.NewRequestWithContext(t.Context(), "POST", clerk.WebhookPath, bytes.NewReader(body))
		req.Header = headers(secretA, fmt.Sprintf("msg_%d", i), now, body)
		all.Go(func() {
			w := httptest.NewRecorder()
			e.receiver.ServeHTTP(w, req)
			codes <- w.Code
		})
	}
	for range maxInFlight {
		<-log.entered
	}
	body := user("user_1")
	r := e.post(headers(secretA, "msg_busy", now, body), bytes.NewReader(body))
	require.Equal(t, 503, r.status)
	require.Equal(t, "5", r.header.Get("Retry-After"))
	require.Equal(t, "too many requests at once, try again\n", r.text)

	close(log.letGo)
	all.Wait()
	for range maxInFlight {
		require.Equal(t, 204, <-codes)
	}
	require.Equal(t, 204, e.deliver(secretA, "msg_busy", body))
	e.requireOutcomes(map[string]float64{"stored": maxInFlight + 1, "busy": 1})
}

// failing is a log that returns an error.
type failing struct{ err error }

func (f failing) Append(context.Context, *clerk.Event) (eventlog.Stored, error) {
	return eventlog.Stored{}, f.err
}
func (f failing) Park(context.Context, *clerk.Event, eventlog.Death) error { return f.err }

// TestLogRefuses: an event too large for the log gives 413, every other failure 503.
func TestLogRefuses(t *testing.T) {
	t.Parallel()
	for status, err := range map[int]error{413: eventlog.ErrTooLarge, 503: eventlog.ErrUnavailable} {
		e := startOn(t, failing{fmt.Errorf("%w: why", err)})
		require.Equal(t, status, e.deliver(secretA, "msg_1", user("user_1")))
		require.Equal(t, status, e.deliver(secretA, "msg_2", []byte(`{}`)))
	}
	e := startOn(t, failing{errors.New("anything")})
	require.Equal(t, 503, e.deliver(secretA, "msg_1", user("user_1")))
	require.Equal(t, 503, e.deliver(secretA, "msg_2", []byte(`{}`)))
	require.Empty(t, e.counts("clerksync_receiver_dead_letters_total"), "what is not parked is not counted")
}

// TestLabelsAreThereFromTheStart: a rate needs a zero first.
func TestLabelsAreThereFromTheStart(t *testing.T) {
	t.Parallel()
	e := startOn(t, failing{io.EOF})
	labels := func(name string) []string { return slices.Collect(maps.Keys(testkit.Values(t, e.registry, name))) }
	require.ElementsMatch(t, []string{
		"stored", "duplicate", "ignored", "parked", "unauthorized", "method", "path", "too_large", "broken", "busy", "unavailable",
	}, labels("clerksync_received_total"))
	require.ElementsMatch(t, []string{
		"no_headers", "bad_timestamp", "too_old", "too_new", "bad_signature", "too_large", "broken", "method", "path", "busy", "unavailable",
	}, labels("clerksync_refused_total"))
}
