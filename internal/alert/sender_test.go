package alert

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/signing"
)

// stuck is a reading with every field that an alert has.
func stuck() *lag.Reading {
	since := time.Date(2026, 3, 1, 14, 5, 0, 0, time.UTC)
	return &lag.Reading{
		State: lag.Stuck, Cause: "no_worker", Why: "no worker is running; 3 events wait", Verdict: "stuck: no worker is running; 3 events wait",
		Since: &since, Fix: "start one: clerksync serve --role worker",
	}
}

func newSender(t *testing.T, to, secret string) *Sender {
	t.Helper()
	s, err := NewSender(to, secret)
	require.NoError(t, err)
	return s
}

// TestSend: the body, and a signature that the library of Svix accepts.
func TestSend(t *testing.T) {
	t.Parallel()
	secret := signing.NewSecret()
	verifier, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	type request struct {
		header http.Header
		body   []byte
	}
	var received []request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received = append(received, request{r.Header, body})
		w.WriteHeader(http.StatusAccepted)
	}))
	defer s.Close()
	host, err := os.Hostname()
	require.NoError(t, err)

	a := newAlert(stuck(), lag.InStep, time.Date(2026, 3, 1, 14, 6, 30, 0, time.UTC))
	sender := newSender(t, s.URL+"/alerts?token=hidden", secret)
	for range 2 {
		status, err := sender.Send(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, status)
	}
	_, err = newSender(t, s.URL, "").Send(t.Context(), a)
	require.NoError(t, err)

	require.Len(t, received, 3)
	require.JSONEq(t, `{
		"type": "clerksync.verdict", "state": "stuck", "cause": "no_worker", "why": "no worker is running; 3 events wait",
		"verdict": "stuck: no worker is running; 3 events wait", "since": "2026-03-01T14:05:00Z",
		"fix": "start one: clerksync serve --role worker", "previous": "in_step", "host": "`+host+`", "at": "2026-03-01T14:06:30Z"
	}`, string(received[0].body))
	require.Equal(t, "application/json", received[0].header.Get("Content-Type"))
	for _, r := range received[:2] {
		require.NoError(t, verifier.Verify(r.body, r.header))
		require.Error(t, verifier.Verify(append(r.body, ' '), r.header))
	}
	const id = "Webhook-Id"
	require.Equal(t, received[0].header.Get(id), received[1].header.Get(id), "the same alert")
	require.NotEqual(t, a.id, newAlert(stuck(), lag.InStep, time.Now()).id, "another alert")
	for name := range received[2].header {
		require.False(t, strings.HasPrefix(name, "Webhook-"), "not signed")
	}
	require.NotContains(t, string(received[0].body), "hidden")
}

// TestSlack: by the host of the URL alone, with its special characters escaped.
func TestSlack(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]bool{
		"https://hooks.slack.com/services/T0/B0/x":       true,
		"https://HOOKS.slack.com:443/workflows/x":        true,
		"https://hooks.slack-gov.com/services/T0/B0/x":   true,
		"https://hooks.slack.com.example.org/services":   false,
		"https://example.org/hooks.slack.com":            false,
		"https://hooks.slack.com@example.org/services":   false,
		"https://example.org?to=https://hooks.slack.com": false,
		"https://slack.com/services":                     false,
		"":                                               false,
	} {
		require.Equal(t, want, isSlack(to), to)
	}
	text := func(a *Alert) string {
		a.Host = "web-1"
		body, err := a.body(true)
		require.NoError(t, err)
		var fields map[string]string
		require.NoError(t, json.Unmarshal(body, &fields))
		require.Len(t, fields, 1)
		return fields["text"]
	}
	require.Equal(t, "clerksync on web-1: stuck: no worker is running; 3 events wait\n→ start one: clerksync serve --role worker",
		text(newAlert(stuck(), lag.InStep, time.Now())))

	require.Equal(t, "clerksync on web-1: in step (was stuck)", text(newAlert(well, lag.Stuck, time.Now())))
	require.Equal(t, "clerksync on web-1: in step", text(newAlert(well, "", time.Now())))
	require.Equal(t, "clerksync on web-1: test: sent by clerksync doctor", text(NewTest()))
	require.Equal(t, "clerksync on web-1: a &lt;b&gt; &amp; c", text(&Alert{Verdict: "a <b> & c"}))
}

// TestFailures: no error quotes the URL, not even its host.
func TestFailures(t *testing.T) {
	t.Parallel()
	refuse := func(code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/hidden")
			http.Error(w, r.URL.Path, code)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	untrusted := httptest.NewTLSServer(nil)
	untrusted.Config.ErrorLog = discard
	t.Cleanup(untrusted.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	ended := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(ended.Close)
	for to, want := range map[string]string{
		refuse(http.StatusNotFound):           "it answers 404",
		refuse(http.StatusTooManyRequests):    "it answers 429",
		refuse(http.StatusServiceUnavailable): "it answers 503",
		refuse(http.StatusTemporaryRedirect):  "it answers 307: redirects are not followed",
		untrusted.URL:                         "its certificate is not valid",
		gone.URL:                              "it refuses connections",
		ended.URL:                             "the connection failed",
		"http://hidden\n":                     "it is not a URL",
		"hidden":                              "the connection failed",
	} {
		_, err := newSender(t, to+"/hidden", "").Send(t.Context(), NewTest())
		require.EqualError(t, err, want)
	}
	require.EqualError(t, explain(&url.Error{URL: "https://hidden", Err: &net.DNSError{Name: "hidden", IsTimeout: true}}),
		"the name of its host cannot be resolved")
	_, err := NewSender("https://example.org", "whsec_hidden")
	require.EqualError(t, err, "what follows whsec_ is not base64: was it copied whole?")
}
