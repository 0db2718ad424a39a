package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/testkit"
)

// fixture is a notifier in a synctest bubble, where nothing may wait for a socket.
type fixture struct {
	*Notifier
	reading  *lag.Reading
	registry *prometheus.Registry
	status   int           // of the answers
	takes    time.Duration // an answer
	tries    []string      // offset, state, previous state
	logs     bytes.Buffer
}

func (f *fixture) RoundTrip(r *http.Request) (*http.Response, error) {
	var a Alert
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		return nil, err
	}
	f.tries = append(f.tries, strings.TrimSpace(time.Since(began).String()+" "+string(a.State)+" "+string(a.Previous)))
	select {
	case <-time.After(f.takes):
		return &http.Response{StatusCode: f.status, Body: io.NopCloser(strings.NewReader(""))}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// began is when the clock of every bubble begins.
var began = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// requireCounts checks the tries by result.
func (f *fixture) requireCounts(t *testing.T, sent, failed float64) {
	t.Helper()
	require.Equal(t, map[string]float64{"sent": sent, "failed": failed}, testkit.Values(t, f.registry, "clerksync_alerts_total"))
}

func run(t *testing.T, test func(*testing.T, *fixture)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{registry: prometheus.NewRegistry(), status: http.StatusOK}
		s := newSender(t, "https://example.org/hidden", "")
		s.client.Transport = f
		f.Notifier = New(Options{
			Sender: s, Latest: func() *lag.Reading { return f.reading }, Registry: f.registry,
			Logger: slog.New(slog.NewTextHandler(&f.logs, nil)),
		})
		test(t, f)
		require.NotContains(t, f.logs.String(), "hidden")
		require.NotContains(t, f.logs.String(), "example.org")
	})
}

// show has the notifier see a reading for some time.
func (f *fixture) show(r *lag.Reading, d time.Duration) {
	f.reading = r
	for end := time.Now().Add(d); time.Now().Before(end); {
		next := time.Now().Add(interval)
		f.step(context.Background())
		<-time.After(time.Until(next))
	}
}

var well = &lag.Reading{State: lag.InStep, Verdict: "in step"}

// TestNotifier: each verdict that lasts a minute, once.
func TestNotifier(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.show(nil, 2*time.Minute) // no reading yet
		require.Empty(t, f.tries)
		f.show(well, 2*time.Minute)
		f.show(stuck(), 50*time.Second)
		f.show(well, 2*time.Minute)
		f.show(stuck(), time.Hour)
		f.show(well, time.Hour)
		require.Equal(t, []string{"3m0s in_step", "7m50s stuck in_step", "1h7m50s in_step stuck"}, f.tries)
		f.requireCounts(t, 3, 0)
		require.Empty(t, f.logs.String())
	})
}

// TestRetries: eight tries within eleven minutes, one warning.
func TestRetries(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.status = http.StatusServiceUnavailable
		f.show(stuck(), time.Hour)
		require.Equal(t, []string{
			"1m0s stuck", "1m5s stuck", "1m15s stuck", "1m35s stuck", "2m15s stuck", "3m35s stuck", "6m15s stuck", "11m35s stuck",
		}, f.tries)
		f.requireCounts(t, 0, 8)
		require.Equal(t, 1, strings.Count(f.logs.String(), "\n"))
		require.Contains(t, f.logs.String(), `level=WARN msg="an alert was not sent: check CLERKSYNC_ALERT_URL" err="it answers 503"`)

		f.status = http.StatusOK
		f.show(well, time.Hour)
		require.Equal(t, "1h1m0s in_step stuck", f.tries[8])
		f.requireCounts(t, 1, 8)
		require.Contains(t, f.logs.String(), `level=INFO msg="alerts are sent again"`)
	})
}

// TestNewerAlert replaces one that is not delivered.
func TestNewerAlert(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.status = http.StatusInternalServerError
		f.show(stuck(), 8*time.Minute)
		f.status = http.StatusOK
		f.show(well, time.Hour)
		require.Equal(t, []string{"6m15s stuck", "9m0s in_step stuck"}, f.tries[6:])
	})
}

// TestSlowAnswer: a try ends after ten seconds.
func TestSlowAnswer(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.takes = time.Hour
		f.show(stuck(), 65*time.Second)
		require.Equal(t, 70*time.Second, time.Since(began))
		f.requireCounts(t, 0, 1)
		require.Contains(t, f.logs.String(), `err="no answer within 10s"`)
	})
}

// TestStop sends nothing, ends a try in progress, and counts neither.
func TestStop(t *testing.T) {
	run(t, func(t *testing.T, f *fixture) {
		f.reading, f.takes = stuck(), 9*time.Second
		f.Start()
		testkit.Pass(65 * time.Second) // in the first try
		at := time.Now()
		require.NoError(t, f.Stop(t.Context()))
		require.Zero(t, time.Since(at))
		testkit.Pass(time.Hour)
		require.Equal(t, []string{"1m0s stuck"}, f.tries)
		f.requireCounts(t, 0, 0)
		require.Empty(t, f.logs.String())
	})
}
