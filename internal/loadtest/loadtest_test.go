package loadtest

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/receiver"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestProbesChangeNoRow: whatever the endpoint stores; and the lag is measured.
func TestProbesChangeNoRow(t *testing.T) {
	t.Parallel()
	d := deploy(t, func(o *receiver.Options) { o.Store, o.InstanceID = []string{"organization.created"}, "ins_2abc" })
	r, err := run(t, t.Context(), d.options())
	require.NoError(t, err)
	require.True(t, r.Complete)
	require.Equal(t, []Answer{{204, "", r.Sent}}, r.Answers)
	require.Positive(t, r.Sent)
	require.Equal(t, 1000, r.BodyBytes)
	require.Nil(t, r.Held)
	require.NotNil(t, r.EndToEnd, r.NoEndToEnd)
	require.Positive(t, r.EndToEnd.P50)
	require.LessOrEqual(t, r.EndToEnd.P50, r.EndToEnd.P99)
	require.NotNil(t, r.SettledAfter)
	require.Equal(t, Left{Events: r.Sent}, r.Left)
	state, err := d.log.State(t.Context())
	require.NoError(t, err)
	require.Equal(t, r.Sent+1, state.Events, "and the probe before")
	heads := 0
	require.NoError(t, d.store.Pool().QueryRow(t.Context(), `SELECT count(*) FROM entity_heads`).Scan(&heads))
	require.Zero(t, heads)
}

// TestPeopleAreDeleted: their rows are written, and what stays are tombstones, even when the
// endpoint refuses some of the deletes at first.
func TestPeopleAreDeleted(t *testing.T) {
	t.Parallel()
	d := deploy(t, func(o *receiver.Options) { o.InstanceID = "ins_2abc" })
	o := d.options()
	o.People, o.InstanceID = 3, "ins_2abc"
	d.busy.Store(2)
	r, err := run(t, t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, "users", r.Traffic)
	people := min(r.Sent, 3)
	require.Equal(t, Left{Events: r.Sent + people, Run: r.Left.Run, Tombstones: people}, r.Left)
	testkit.Eventually(t, "all are tombstones", func() (bool, any) {
		var all, dead uint64
		require.NoError(t, d.store.Pool().QueryRow(t.Context(), `SELECT count(*), count(*) FILTER (WHERE deleted_at IS NOT NULL AND raw IS NULL) FROM users
			WHERE clerk_id LIKE 'user_loadtest_' || $1 || '_%'`, r.Left.Run).Scan(&all, &dead))
		return all == people && dead == people, []uint64{all, dead}
	})
}

// TestUselessEvents: a run ends when its events cannot be applied, although they get 204.
func TestUselessEvents(t *testing.T) {
	t.Parallel()
	d := deploy(t, func(o *receiver.Options) { o.InstanceID = "ins_2abc" })
	o := d.options()
	o.People, o.For = 1, time.Minute
	_, err := run(t, t.Context(), o)
	require.Equal(t, &Failure{
		"the events become dead letters: wrong_instance", "give --instance-id as CLERK_INSTANCE_ID is there; clerksync dead ls, then dead discard",
	}, err)

	d = deploy(t, func(o *receiver.Options) { o.Store = []string{"organization.*"} })
	o = d.options()
	o.People, o.For = 1, time.Minute
	_, err = run(t, t.Context(), o)
	require.Equal(t, &Failure{
		"the endpoint acknowledges the events of users and does not store them", "take user.* into CLERKSYNC_STORE_EVENTS there, or send probes",
	}, err)
}

// TestNothingIsSentToAWrongPlace: the probe that goes first finds it.
func TestNothingIsSentToAWrongPlace(t *testing.T) {
	t.Parallel()
	d, full := deploy(t), deploy(t, func(o *receiver.Options) { o.Log = fullLog{} })
	for _, d := range []*deployment{d, full} {
		d.put(func(w http.ResponseWriter, _ int64) bool { panic("an event was sent") })
	}
	for stop, change := range map[string]func(*Options){
		"unauthorized: the signature does not match: the secret is another, or a proxy changes the body": func(o *Options) { o.Secret = secret[:len(secret)-4] + "AAAA" },
		"unavailable: the receiver answers but cannot store events: its event log is down or full":       func(o *Options) { o.URL = full.options().URL },
		"connect: 127.0.0.1:1 refuses connections: nothing listens there":                                func(o *Options) { o.URL = "http://127.0.0.1:1" + clerk.WebhookPath },
	} {
		o := d.options()
		change(&o)
		r, err := run(t, t.Context(), o)
		require.Nil(t, r)
		require.EqualError(t, err, "nothing was sent: the probe stopped at "+stop)
		require.NotEmpty(t, err.(*Failure).Fix)
	}
}

// fullLog takes no event.
type fullLog struct{ receiver.Log }

func (fullLog) Append(context.Context, *clerk.Event) (eventlog.Stored, error) {
	return eventlog.Stored{}, eventlog.ErrUnavailable
}

// TestAHandfulOfFailures: what no load causes ends the run at once, and what it can cause
// when nothing else comes.
func TestAHandfulOfFailures(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status int
		most   int
		cause  string
		fix    string
	}{
		{http.StatusRequestEntityTooLarge, mostWrong, "413, 10 times, although a probe passes", "let the proxy in front of clerksync take bodies up to 1.0 MB, or lower --body-size"},
		{http.StatusForbidden, mostWrong, "403, 10 times, although a probe passes", "check the logs of the proxy and of clerksync there"},
		{http.StatusServiceUnavailable, mostInARow, "503, 100 times, although a probe passes", "lower --rate or --connections: it takes a single event, and not these at once"},
	} {
		d := deploy(t)
		d.put(func(w http.ResponseWriter, _ int64) bool { w.WriteHeader(tc.status); return true })
		o := d.options()
		o.For, o.Connections = time.Minute, 1
		r, err := run(t, t.Context(), o)
		require.Equal(t, &Failure{"the run was ended by its failures: " + tc.cause, tc.fix}, err)
		require.EqualValues(t, tc.most, r.Failed)
		require.False(t, r.Complete)
	}
}

// TestOverloadIsAResult: refusals between successes do not end the run.
func TestOverloadIsAResult(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	d.put(func(w http.ResponseWriter, n int64) bool {
		if n%2 == 0 {
			w.Header().Set(receiver.ReasonHeader, receiver.ReasonBusy)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n%2 == 0
	})
	r, err := run(t, t.Context(), d.options())
	require.NoError(t, err)
	require.Equal(t, AtReceiver, r.Limit)
	require.Equal(t, []Answer{{204, "", r.Accepted}, {503, "busy", r.Failed}}, r.Answers)
}

// TestAStallShowsInEveryEventThatWaited: one answer that takes 300 ms delays the 300 events
// that are due meanwhile, and not only itself.
func TestAStallShowsInEveryEventThatWaited(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	d.put(func(w http.ResponseWriter, n int64) bool {
		if n == 1 {
			<-time.After(300 * time.Millisecond)
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	})
	o := d.options()
	o.Log, o.NoLog, o.Connections, o.Rate, o.For = nil, "no log", 1, 1000, time.Second
	r, err := run(t, t.Context(), o)
	require.NoError(t, err)
	require.GreaterOrEqual(t, r.Answer.P90, 0.1)
	require.GreaterOrEqual(t, r.Answer.Max, 0.3)
	require.EqualValues(t, 1000, r.Sent+r.NotSent)
	require.Equal(t, "no log", r.NoEndToEnd)
	require.Nil(t, r.Pending)
}

// TestARateThatIsNotHeld: what was due and not sent counts.
func TestARateThatIsNotHeld(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	d.put(func(http.ResponseWriter, int64) bool { <-time.After(50 * time.Millisecond); return false })
	o := d.options()
	o.Rate, o.For, o.Connections = 1000, 300*time.Millisecond, 1
	r, err := run(t, t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, new(false), r.Held)
	require.Positive(t, r.NotSent)
	require.EqualValues(t, 300, r.Sent+r.NotSent)
	require.Contains(t, []Limit{AtReceiver, ThisMachine}, r.Limit)
	require.GreaterOrEqual(t, r.Answer.P50, 0.05)
}

// TestAnEndInTheMiddle: the result is that of what was sent, and people are deleted.
func TestAnEndInTheMiddle(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.put(func(_ http.ResponseWriter, n int64) bool {
		if n == 20 {
			cancel()
		}
		return false
	})
	o := d.options()
	o.Rate, o.For, o.People = 1000, time.Hour, 5
	r, err := run(t, ctx, o)
	require.NoError(t, err)
	require.False(t, r.Complete)
	require.Nil(t, r.Held)
	require.GreaterOrEqual(t, r.Accepted, uint64(17), "4 connections")
	require.Less(t, r.Accepted, uint64(1000))
	require.Equal(t, Left{Events: r.Accepted + 5, Run: r.Left.Run, Tombstones: 5}, r.Left)
}

// TestNoRoom: a run that would fill the log does not begin.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	d := deploy(t)
	log, err := eventlog.Open(t.Context(), d.log.Conn(), eventlog.Options{MaxBytes: 1_000_000})
	require.NoError(t, err)
	t.Cleanup(log.Close)
	o := d.options()
	o.Rate, o.For = 100, 4*time.Second
	r, err := run(t, t.Context(), o)
	require.Nil(t, r)
	failure, ok := errors.AsType[*Failure](err)
	require.True(t, ok, "%v", err)
	require.Regexp(t, `^nothing was sent: the events would take 560 kB of the event log, which has room for 1\.0 MB$`, failure.Cause)
	require.Equal(t, "lower --rate, --for or --body-size: a full log refuses Clerk's events too", failure.Fix)
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"http://localhost:8080/x": true, "http://127.0.0.2/": true, "http://[::1]:1/": true,
		"http://10.0.0.1/": false, "https://example.com/": false, "http://localhost.example.com/": false, "": false,
	} {
		require.Equal(t, want, IsLoopback(url), url)
	}
}
