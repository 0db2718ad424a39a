package admin_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/testkit"
)

// serve starts a server with shorter time limits than the admin listener has.
func serve(t *testing.T, w *world) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(w)
	server.Config.ReadTimeout = 200 * time.Millisecond
	server.Config.WriteTimeout = 300 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(w.Close) // first
	return server
}

// TestStream: the stream sends the history, then every reading, and no sample twice.
func TestStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := listen(t, serve(t, w))
	h := s.must()
	require.Nil(t, h.Reading)
	require.Empty(t, h.Samples)
	require.NotEmpty(t, h.Run)

	now := time.Now()
	w.watch.measure(now, "one")
	h = s.must()
	require.Equal(t, "one", h.Reading.Verdict)
	require.Less(t, h.Age, 10.0)
	require.Len(t, h.Samples, 1)
	require.Equal(t, map[string]any{
		"at": float64(now.UnixMilli()), "pending": 0.0, "oldest": nil, "delivery": nil, "queue": []any{0.25, 0.5}, "end_to_end": nil,
		"applied": nil, "received": map[string]any{"stored": 2.0},
	}, h.Samples[0])

	w.watch.measure(now.Add(5*time.Second), "two")
	h = s.must()
	require.Equal(t, "two", h.Reading.Verdict)
	require.Len(t, h.Samples, 1)
	require.Equal(t, 1.0, h.Samples[0]["pending"])

	// A later page gets the whole history.
	require.Len(t, listen(t, serve(t, w)).must().Samples, 2)
}

// TestStreamOutlivesTheLimitsOfTheServer, which are for responses that end.
func TestStreamOutlivesTheLimitsOfTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := serve(t, w)
	s := listen(t, server)
	s.must()
	for begun, i := time.Now(), 0; time.Since(begun) < 2*server.Config.WriteTimeout; i++ {
		w.watch.measure(time.Now(), fmt.Sprint(i))
		require.Equal(t, fmt.Sprint(i), s.must().Reading.Verdict)
	}
	w.watch.measure(time.Now(), "last")
	require.Equal(t, "last", s.must().Reading.Verdict)
}

// TestStreamTellsHowOldAReadingIs also without a new one.
func TestStreamTellsHowOldAReadingIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := guarded(t)
		session := w.login()
		ctx, cancel := context.WithCancel(t.Context())
		read, write := io.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.ServeHTTP(&pipe{httptest.NewRecorder(), write}, request("GET", "/stream", session).WithContext(ctx))
		}()
		w.watch.measure(time.Now(), "then")
		s := newStream(t, read)
		s.must()
		synctest.Wait()
		begun := time.Now()
		h := s.must()
		require.Equal(t, "then", h.Reading.Verdict)
		require.Empty(t, h.Samples)
		require.Equal(t, 7*time.Second, time.Since(begun))
		require.InDelta(t, 7, h.Age, 0.001)
		require.InDelta(t, 14, s.must().Age, 0.001)
		cancel()
		<-ended
		require.Zero(t, w.watch.listeners())
	})
}

// TestStreamEndsWithTheSession.
func TestStreamEndsWithTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, withToken)
	session := w.login()
	s := listen(t, serve(t, w), session)
	s.must()
	require.Equal(t, http.StatusNoContent, w.do("POST", "/logout", session, w.action(session)).Code)
	w.watch.measure(time.Now(), "not for them")
	_, err := s.next()
	require.Equal(t, io.EOF, err)
}

// TestCloseEndsStreams, or Shutdown would wait for them.
func TestCloseEndsStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := serve(t, w)
	s := listen(t, server)
	s.must()
	w.Close()
	w.Close()
	_, err := s.next()
	require.Equal(t, io.EOF, err)
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	require.NoError(t, server.Config.Shutdown(ctx))
	require.Zero(t, w.watch.listeners())
}

// TestStreamsAreLimited, and a page that disconnects makes room.
func TestStreamsAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := serve(t, w)
	var all []*stream
	for range 32 {
		all = append(all, listen(t, server))
	}
	answer, err := server.Client().Get(server.URL + "/stream")
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	require.Equal(t, "30", answer.Header.Get("Retry-After"))

	all[0].body.Close()
	testkit.Eventually(t, "a listener left", func() (bool, any) {
		n := w.watch.listeners()
		return n == 31, n
	})
	listen(t, server).must()
}

// TestReadingThatCannotBeSent ends the stream, and the page shows that it is disconnected.
func TestReadingThatCannotBeSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.watch.reading = &lag.Reading{StoredPerSecond: new(math.NaN())}
	_, err := listen(t, serve(t, w)).next()
	require.Equal(t, io.EOF, err)
}
