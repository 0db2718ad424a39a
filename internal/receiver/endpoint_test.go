package receiver

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	embeddednats "github.com/clerksync/clerksync/internal/embedded/nats"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/testkit"
)

// Secrets of 24 bytes, as Svix generates them.
var (
	secretA = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the-old-secret-24-bytes!"))
	secretB = "whsec_" + base64.StdEncoding.EncodeToString([]byte("the-new-secret-24-bytes!"))
	secretX = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a-secret-of-somebody-els"))
)

// now is the endpoint's clock.
var now = time.Date(2026, 1, 12, 9, 0, 0, 426e6, time.UTC)

// content is part of every body, and must not appear in an answer or a log line.
const content = "QZ-content-of-a-body-QZ"

// endpoint is a receiver between a real HTTP server and a real event log.
type endpoint struct {
	t        testing.TB
	nats     *embeddednats.Server
	nc       *nats.Conn
	js       jetstream.JetStream
	registry *prometheus.Registry
	logs     *testkit.Output
	server   *httptest.Server
	client   *http.Client
	receiver *Receiver
	hidden   *hidden
}

// on is the endpoint for a subtest.
func (e *endpoint) on(t testing.TB) *endpoint {
	sub := *e
	sub.t = t
	return &sub
}

// hidden texts must not appear in an answer or a log line.
type hidden struct {
	mu    sync.Mutex
	texts []string
}

// start starts an endpoint with both secrets on a new log.
func start(t testing.TB, options ...func(*Options)) *endpoint {
	t.Helper()
	n := testkit.NATS(t)
	nc := testkit.Connect(t, n)
	e := startOn(t, testkit.OpenLog(t, nc), options...)
	e.nats, e.nc = n, nc
	var err error
	e.js, err = jetstream.New(nc)
	require.NoError(t, err)
	return e
}

// startOn starts an endpoint on a log.
func startOn(t testing.TB, log Log, options ...func(*Options)) *endpoint {
	t.Helper()
	e := &endpoint{t: t, registry: prometheus.NewRegistry(), logs: &testkit.Output{}, hidden: &hidden{texts: []string{content}}}
	o := Options{
		Secrets: []string{secretA, secretB}, Log: log, Registry: e.registry,
		Logger:      slog.New(slog.NewJSONHandler(e.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		testOnlyNow: func() time.Time { return now },
	}
	for _, option := range options {
		option(&o)
	}
	for _, s := range o.Secrets {
		e.hide(s, strings.TrimPrefix(s, "whsec_"))
	}
	var err error
	e.receiver, err = New(o)
	require.NoError(t, err)
	e.server = httptest.NewServer(e.receiver)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	e.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		e.server.Close()
		e.checkQuiet("a log line", e.logs.String())
	})
	return e
}

func (e *endpoint) hide(texts ...string) {
	e.hidden.mu.Lock()
	defer e.hidden.mu.Unlock()
	e.hidden.texts = append(e.hidden.texts, texts...)
}

func (e *endpoint) checkQuiet(where, text string) {
	e.hidden.mu.Lock()
	defer e.hidden.mu.Unlock()
	for _, s := range e.hidden.texts {
		if strings.Contains(text, s) {
			e.t.Errorf("%s shows %q: %s", where, s, text)
		}
	}
}

// sign signs as Svix does, without Svix's library.
func sign(secret, id, timestamp string, body []byte) string {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	io.WriteString(mac, id+"."+timestamp+".")
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// headers returns the headers of a delivery signed at a time.
func headers(secret, id string, at time.Time, body []byte) http.Header {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	return http.Header{
		"Svix-Id": {id}, "Svix-Timestamp": {timestamp}, "Svix-Signature": {sign(secret, id, timestamp, body)},
		"Content-Type": {"application/json"},
	}
}

// reply is a response.
type reply struct {
	status int
	text   string
	header http.Header
}

// post sends a request and checks what holds for every answer.
func (e *endpoint) post(h http.Header, body io.Reader) reply {
	e.t.Helper()
	r, err := e.try(http.MethodPost, h, body)
	require.NoError(e.t, err)
	return r
}

func (e *endpoint) try(method string, h http.Header, body io.Reader) (reply, error) {
	for _, s := range h["Svix-Signature"] {
		for part := range strings.FieldsSeq(s) {
			if len(part) > 8 {
				e.hide(part, strings.TrimPrefix(part, "v1,"))
			}
		}
	}
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.server.URL+clerk.WebhookPath, body)
	if err != nil {
		return reply{}, err
	}
	req.Header = h
	resp, err := e.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	r := reply{resp.StatusCode, string(text), resp.Header}
	return r, errors.Join(err, e.check(r))
}

// check returns what is wrong with any response.
func (e *endpoint) check(r reply) error {
	e.checkQuiet("an answer", r.text+fmt.Sprint(r.header))
	switch {
	case r.header.Get("Location") != "":
		return errors.New("a redirect")
	case r.status == 204 && r.text != "":
		return errors.New("204 with a body")
	case (r.status == 503) != (r.header.Get("Retry-After") != ""):
		return errors.New("Retry-After is for 503, and 503 has it")
	}
	return nil
}

// deliver sends a body as Svix does and returns the status.
func (e *endpoint) deliver(secret, id string, body []byte) int {
	e.t.Helper()
	return e.post(headers(secret, id, now, body), bytes.NewReader(body)).status
}

// user returns an event that is stored.
func user(id string) []byte {
	return event("user.created", `{"id":"`+id+`"}`)
}

// event returns the body of an event.
func event(eventType, data string) []byte {
	return fmt.Appendf(nil, `{"data":%s,"event_attributes":{"http_request":{"client_ip":"","user_agent":%q}},"instance_id":"ins_1","object":"event","timestamp":1768208400426,"type":%q}`,
		data, content, eventType)
}

// messages returns all messages of a stream.
func (e *endpoint) messages(stream string) []*jetstream.RawStreamMsg {
	e.t.Helper()
	s, err := e.js.Stream(e.t.Context(), stream)
	require.NoError(e.t, err)
	state := s.CachedInfo().State
	var all []*jetstream.RawStreamMsg
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := s.GetMsg(e.t.Context(), seq)
		require.NoError(e.t, err)
		for _, added := range []string{"Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp"} {
			m.Header.Del(added) // by the server, in reading
		}
		all = append(all, m)
	}
	return all
}

// requireStored checks how many events and dead letters there are.
func (e *endpoint) requireStored(events, dead int) {
	e.t.Helper()
	require.Len(e.t, e.messages(eventlog.Stream), events, "events")
	require.Len(e.t, e.messages(eventlog.DeadStream), dead, "dead letters")
}

// counts returns a counter's values by its label, without zeros.
func (e *endpoint) counts(name string) map[string]float64 {
	e.t.Helper()
	counts := testkit.Values(e.t, e.registry, name)
	maps.DeleteFunc(counts, func(_ string, n float64) bool { return n == 0 })
	return counts
}

// requireOutcomes checks all outcomes counted, and that every refusal has a reason.
func (e *endpoint) requireOutcomes(want map[string]float64) {
	e.t.Helper()
	require.Equal(e.t, want, e.counts("clerksync_received_total"))
	refused := e.counts("clerksync_refused_total")
	for _, outcome := range []string{"method", "path", "too_large", "broken", "busy", "unavailable"} {
		require.Equal(e.t, want[outcome], refused[outcome], outcome)
		delete(refused, outcome)
	}
	unauthorized := 0.0
	for _, n := range refused {
		unauthorized += n
	}
	require.Equal(e.t, want["unauthorized"], unauthorized, "refused: %v", refused)
}

func file(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile("../../testdata/events/" + name + ".json")
	require.NoError(t, err)
	return body
}
