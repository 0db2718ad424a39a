package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestProbePasses: whatever the settings say about Clerk's events, and without a trace in
// the tables.
func TestProbePasses(t *testing.T) {
	t.Parallel()
	d := deploy(t, func(o *receiver.Options) { o.Store, o.InstanceID = []string{"user.created"}, "ins_2abc" })
	st := testkit.Store(t)
	d.work(st.Apply, nil)
	for seq := range uint64(3) {
		r := run(t, d.probe())
		require.True(t, r.OK, "%+v", r)
		require.Equal(t, seq+1, r.Seq)
		require.Equal(t, d.server.URL+clerk.WebhookPath, r.URL)
		require.Nil(t, r.Times.DNS, "an address needs none")
		require.Nil(t, r.Times.TLS)
		sum := *r.Times.Connect + *r.Times.Receive + *r.Times.Queue
		require.Greater(t, *r.Times.Receive, 0.0)
		require.Greater(t, *r.Times.Queue, 0.0)
		require.LessOrEqual(t, sum, *r.Times.Total)
		if r.ClockOff != nil { // a machine that is busy answers slowly
			require.Zero(t, *r.ClockOff, "one machine, one clock")
		}

		m, err := d.log.Get(t.Context(), r.Seq)
		require.NoError(t, err)
		require.Equal(t, r.SvixID, m.Event.ID)
		require.Equal(t, clerk.OriginProbe, m.Event.Origin)
	}
	require.Empty(t, testkit.Tables(t, st), "no row and no head")
	dead, err := d.log.DeadLetters(t.Context())
	require.NoError(t, err)
	require.Zero(t, dead)
}

// TestProbeAmongOthers: a probe finds itself.
func TestProbeAmongOthers(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	d.work(testkit.Store(t).Apply, nil)
	done := make(chan *Result, 8)
	for range cap(done) {
		go func() { done <- d.probe().Run(t.Context()) }()
	}
	seqs := map[uint64]bool{}
	for range cap(done) {
		r := <-done
		require.True(t, r.OK, "%+v", r)
		m, err := d.log.Get(t.Context(), r.Seq)
		require.NoError(t, err)
		require.Equal(t, r.SvixID, m.Event.ID)
		seqs[r.Seq] = true
	}
	require.Len(t, seqs, cap(done))
}

// TestResultJSON: the names are a contract, and unknown values are null.
func TestResultJSON(t *testing.T) {
	t.Parallel()
	r := Result{StoppedAt: AtTLS, Cause: "c", Fix: "m", URL: "https://h/", SvixID: "probe_1", Times: Times{DNS: seconds(time.Millisecond)}}
	text, err := json.Marshal(r)
	require.NoError(t, err)
	require.Equal(t, `{"ok":false,"stopped_at":"tls","cause":"c","fix":"m","url":"https://h/","svix_id":"probe_1","seq":0,`+
		`"hops":{"dns_seconds":0.001,"connect_seconds":null,"tls_seconds":null,"receive_seconds":null,"queue_seconds":null,"total_seconds":null},`+
		`"clock_off_seconds":null}`, string(text))
}

func TestWithoutALogTheFrontHalfIsDone(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	p := d.probe()
	p.Log, p.NoLog = nil, "set NATS_URL"
	r := run(t, p)
	requireStopped(t, r, AtLog, "it was acknowledged; whether it is applied is unknown: set NATS_URL",
		"run clerksync doctor")
	require.NotNil(t, r.Times.Receive)
	state, err := d.log.State(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 1, state.Events)
}

func TestAnotherDeploymentsLog(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	p := d.probe()
	p.Log, p.Timeout = testkit.Log(t), soon
	r := run(t, p)
	requireStopped(t, r, AtNotStored, "it was acknowledged, but is not in this event log after 300ms",
		"make sure that NATS_URL is the same here and there, and that clerksync there is not older: it ignores types that it does not know")
	require.Zero(t, r.Seq)
}

func TestNoWorker(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	p := d.probe()
	p.Timeout = soon
	requireStopped(t, run(t, p), AtNotApplied, "it is stored as 1, but not settled after 300ms: no worker answers", "start one: clerksync serve --role worker")
}

func TestWorkerThatGetsNothingIn(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	refuse := func(context.Context, []store.Entry) ([]store.Outcome, error) { return nil, errors.New("no") }
	since := time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)
	d.work(refuse, &lag.Failure{Reason: "PostgreSQL cannot be reached", Since: since})
	e := testkit.Event("msg_1", "user.created", since.UnixMilli(), testkit.UserData("user_1", "", "", 1, 1))
	_, err := d.log.Append(t.Context(), e)
	require.NoError(t, err)
	p := d.probe()
	p.Timeout = soon
	requireStopped(t, run(t, p), AtNotApplied,
		"it is stored as 2, but not settled after 300ms: the worker here/1 has applied nothing since 2026-01-12T09:00:00Z: PostgreSQL cannot be reached",
		"check PostgreSQL; the worker retries without end and recovers by itself")
}

func TestEventsBeforeIt(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	since := time.Now().UnixMilli()
	for i := range 3 {
		_, err := d.log.Append(t.Context(), testkit.Event("msg_"+strconv.Itoa(i), "user.created", since, testkit.UserData("user_1", "", "", 1, 1)))
		require.NoError(t, err)
	}
	slow := func(ctx context.Context, _ []store.Entry) ([]store.Outcome, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	d.work(slow, nil)
	p := d.probe()
	p.Timeout = soon
	requireStopped(t, run(t, p), AtNotApplied, "it is stored as 4, but not settled after 300ms: the workers are busy; events before it that are not applied yet: up to 3",
		"wait, or run more workers; clerksync lag shows the rate")
}

// TestLogThatGoesAway: during a probe.
func TestLogThatGoesAway(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	p := d.probe()
	p.Timeout = soon
	d.put(func(w http.ResponseWriter, _ *http.Request) {
		d.nc.Close()
		w.WriteHeader(http.StatusNoContent)
	})
	requireStopped(t, run(t, p), AtLog, "it was acknowledged, but then the event log could not be read: read stream CLERK_EVENTS: nats: connection closed",
		"run clerksync doctor")
	d.put(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	requireStopped(t, run(t, p), AtLog, "it was acknowledged; whether it is applied is unknown: read stream CLERK_EVENTS: nats: connection closed",
		"run clerksync doctor")
}

// TestWhatIsSent: the request equals one of Svix.
func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	var header http.Header
	var body []byte
	d.put(func(w http.ResponseWriter, req *http.Request) {
		header = req.Header
		body, _ = io.ReadAll(req.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	run(t, d.probe())
	webhook, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	require.NoError(t, webhook.Verify(body, header))
	e, err := clerk.ParseEnvelope(body)
	require.NoError(t, err)
	require.Equal(t, clerk.Envelope{Type: "clerksync.probe", EventAt: e.EventAt, EntityID: "probe"}, e)
	require.WithinDuration(t, time.Now(), time.UnixMilli(e.EventAt), time.Minute)
	require.True(t, bytes.HasPrefix(body, []byte(`{"object":"event",`)))
}

// TestClockOff: a slow answer is not a wrong clock.
func TestClockOff(t *testing.T) {
	t.Parallel()
	sent := time.Date(2026, 1, 12, 9, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		date, took time.Duration
		want       float64
	}{
		{0, 0, 0},
		{-time.Second, 0, 0},
		{-time.Second, 2 * time.Second, 0},
		{3 * time.Second, 2 * time.Second, 0},
		{-4 * time.Second, 2 * time.Second, -3},
		{7 * time.Second, 2 * time.Second, 4},
		{-time.Hour, 0, -3599},
	} {
		off := clockOff(sent.Add(tc.date), sent, sent.Add(tc.took))
		require.NotNil(t, off)
		require.Equal(t, tc.want, *off, tc)
	}
	require.Nil(t, clockOff(sent, sent, sent.Add(2*time.Second+1)), "too slow to tell")
}
