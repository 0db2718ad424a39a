package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/admin"
	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// secret is in every payload; only an explicit request for a body may show it.
const secret = "ada@example.com"

// adminToken is the token of the guarded listener in the tests.
const adminToken = "a-token-of-the-tests"

// watch returns the readings that a test sets.
type watch struct {
	mu      sync.Mutex
	reading *lag.Reading
	history []lag.Sample
	ears    map[chan struct{}]bool
}

func (w *watch) Latest() *lag.Reading {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reading
}

func (w *watch) History() []lag.Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]lag.Sample(nil), w.history...)
}

func (w *watch) Subscribe() (<-chan struct{}, func()) {
	ear := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ears == nil {
		w.ears = map[chan struct{}]bool{}
	}
	w.ears[ear] = true
	return ear, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.ears, ear)
	}
}

// listeners counts the subscribers.
func (w *watch) listeners() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ears)
}

// measure is a reading that was taken at a time.
func (w *watch) measure(at time.Time, verdict string) {
	w.mu.Lock()
	w.history = append(w.history, lag.Sample{
		At: at, State: lag.InStep, Pending: new(uint64(len(w.history))), Queue: &lag.Quantiles{P50: 0.25, P99: 0.5, Events: 7},
		Received: map[string]float64{"stored": 2},
	})
	w.mu.Unlock()
	w.publish(&lag.Reading{InStep: true, State: lag.InStep, Verdict: verdict, MeasuredAt: at, Warnings: []lag.Warning{}})
}

// publish makes a reading the latest.
func (w *watch) publish(r *lag.Reading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reading = r
	for ear := range w.ears {
		select {
		case ear <- struct{}{}:
		default:
		}
	}
}

// world is a dashboard with what it shows.
type world struct {
	t     *testing.T
	watch *watch
	log   *eventlog.Log
	*admin.Handler
}

// newWorld makes a dashboard that needs no token, as that of clerksync dev.
func newWorld(t *testing.T, change ...func(*admin.Options)) *world {
	t.Helper()
	w := &world{t: t, watch: &watch{}, log: testkit.Log(t)}
	o := admin.Options{
		Meter: lag.NewMeter(w.log, nil, false, slog.New(slog.DiscardHandler)), Gatherer: prometheus.NewRegistry(),
		Watch: w.watch, Log: w.log, Open: admin.Everything, Version: "v0.0.0-test",
	}
	for _, f := range change {
		f(&o)
	}
	var err error
	w.Handler, err = admin.New(o)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w
}

// withToken asks for a token, as where CLERKSYNC_ADMIN_TOKEN is set.
func withToken(o *admin.Options) { o.Token, o.Open = adminToken, admin.HealthOnly }

// withReadings asks for a token, except for /lag and /metrics, as on the loopback.
func withReadings(o *admin.Options) { o.Token, o.Open = adminToken, admin.Readings }

// request makes a request as a browser on this machine would.
func request(method, path string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	r.Host = "localhost:8081"
	for _, f := range change {
		f(r)
	}
	return r
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func host(name string) func(*http.Request) {
	return func(r *http.Request) { r.Host = name }
}

func (w *world) do(method, path string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, request(method, path, change...))
	return answer
}

// get asks for what has to be there, and decodes it.
func (w *world) get(path string, into any) {
	w.t.Helper()
	answer := w.do("GET", path)
	require.Equal(w.t, http.StatusOK, answer.Code, answer.Body)
	require.Equal(w.t, "application/json", answer.Header().Get("Content-Type"))
	require.NoError(w.t, json.Unmarshal(answer.Body.Bytes(), into))
}

// action is the token that the page has for its actions.
func (w *world) action(change ...func(*http.Request)) func(*http.Request) {
	w.t.Helper()
	_, rest, ok := strings.Cut(w.do("GET", "/", change...).Body.String(), `<meta name="clerksync-action" content="`)
	require.True(w.t, ok)
	token, _, _ := strings.Cut(rest, `"`)
	require.Len(w.t, token, 26)
	return header("Clerksync-Action", token)
}

// login returns what gives a request the session of somebody who logged in.
func (w *world) login() func(*http.Request) {
	w.t.Helper()
	answer := w.do("POST", "/login", form("token="+adminToken))
	require.Equal(w.t, http.StatusSeeOther, answer.Code, answer.Body)
	cookies := answer.Result().Cookies()
	require.Len(w.t, cookies, 1)
	return func(r *http.Request) { r.AddCookie(cookies[0]) }
}

func form(body string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body = io.NopCloser(strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
}

// user is an event about the i-th user of a test, with the secret in its payload.
func user(i int) *clerk.Event {
	at := time.Now().UnixMilli() - 1000
	id := fmt.Sprint("user_", i)
	return testkit.Event(fmt.Sprint("msg_", i), "user.created", at, testkit.UserData(id, fmt.Sprint(i, secret), secret, at, at))
}

func (w *world) append(events ...*clerk.Event) (last uint64) {
	w.t.Helper()
	for _, e := range events {
		stored, err := w.log.Append(context.Background(), e)
		require.NoError(w.t, err)
		last = stored.Seq
	}
	return last
}

// park makes a dead letter and returns its sequence.
func (w *world) park(e *clerk.Event, reason string, seq uint64) uint64 {
	w.t.Helper()
	d := eventlog.Death{Reason: reason, Err: errors.New("the text of the error"), Attempts: 1, Seq: seq}
	require.NoError(w.t, w.log.Park(context.Background(), e, d))
	letters := w.letters()
	return letters[len(letters)-1].Seq
}

func (w *world) letters() []*eventlog.Message {
	w.t.Helper()
	scan, err := w.log.Letters(context.Background(), eventlog.Filter{})
	require.NoError(w.t, err)
	var all []*eventlog.Message
	require.NoError(w.t, scan.Each(context.Background(), func(m *eventlog.Message) error {
		all = append(all, m)
		return nil
	}))
	return all
}

// stream reads the server-sent events as a page does.
type stream struct {
	t      *testing.T
	body   io.ReadCloser
	reader *bufio.Reader
}

// listen opens a stream from a server.
func listen(t *testing.T, server *httptest.Server, change ...func(*http.Request)) *stream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/stream", nil)
	require.NoError(t, err)
	for _, f := range change {
		f(r)
	}
	answer, err := server.Client().Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { answer.Body.Close() })
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, "text/event-stream", answer.Header.Get("Content-Type"))
	return newStream(t, answer.Body)
}

func newStream(t *testing.T, body io.ReadCloser) *stream {
	return &stream{t, body, bufio.NewReader(body)}
}

// pipe is an answer that is read while it is written.
type pipe struct {
	*httptest.ResponseRecorder
	out io.Writer
}

func (p *pipe) Write(b []byte) (int, error)      { return p.out.Write(b) }
func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

type heard struct {
	Run     string
	Age     float64
	Reading *lag.Reading
	Samples []map[string]any
}

// next is the next event of the stream, io.EOF when it has ended.
func (s *stream) next() (heard, error) {
	for {
		line, err := s.reader.ReadString('\n')
		if err != nil {
			return heard{}, err
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			var h heard
			require.NoError(s.t, json.Unmarshal([]byte(data), &h))
			return h, nil
		}
	}
}

func (s *stream) must() heard {
	s.t.Helper()
	h, err := s.next()
	require.NoError(s.t, err)
	return h
}
