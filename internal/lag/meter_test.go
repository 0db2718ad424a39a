package lag

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

func value[T any](t *testing.T, p *T) T {
	t.Helper()
	require.NotNil(t, p)
	return *p
}

// TestEmptyStream: nothing is pending, and unknown values are null, not 0.
func TestEmptyStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.measure(w.meter())
	require.Equal(t, "stuck: no worker is running; nothing waits yet", r.Verdict)
	require.Nil(t, r.Since, "who has just begun to measure does not know")
	require.Zero(t, value(t, r.Pending))
	require.Zero(t, value(t, r.OldestPendingAge))
	require.Zero(t, value(t, r.DeadLetters))
	require.Nil(t, r.LastEventReceivedAt)
	require.Less(t, value(t, r.Silence).Seconds, testkit.Patience.Seconds(), "since the log was made")
	require.InDelta(t, unlearned.Seconds(), r.Silence.Limit, 0)
	require.Nil(t, r.EndToEnd)
	require.Nil(t, r.StoredPerSecond)
	require.NotNil(t, r.Workers)
	require.Empty(t, r.Workers)
	require.True(t, r.EventLog.OK)
	require.True(t, r.PostgreSQL.OK)
}

// TestWorkerStopped: every meter counts the backlog, and its age grows.
func TestWorkerStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.worker("first", w.store.Apply)
	w.emit(3, time.Second)
	m := w.meter()
	w.await(m, "all is applied", func(r *Reading) bool { return *r.Pending == 0 && len(r.Workers) == 1 })
	w.stop(p)
	w.emit(5, time.Second)
	first := w.await(m, "five wait", func(r *Reading) bool { return *r.Pending == 5 })
	age := value(t, first.OldestPendingAge)
	require.Positive(t, age)
	w.await(m, "the age grows though no event flows", func(r *Reading) bool { return *r.OldestPendingAge >= age+0.2 && *r.Pending == 5 })
	another := w.measure(w.meter()) // of another process, which has seen nothing
	require.EqualValues(t, 5, value(t, another.Pending))
	require.GreaterOrEqual(t, value(t, another.OldestPendingAge), age)
	require.Equal(t, 3, value(t, another.EndToEnd).Events, "what was applied is known still")

	w.worker("second", w.store.Apply)
	r := w.await(m, "a worker catches up", func(r *Reading) bool { return *r.Pending == 0 })
	require.Zero(t, value(t, r.OldestPendingAge))
}

// TestLags: each lag is the difference of two clocks.
func TestLags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const slow = 300 * time.Millisecond
	w.worker("first", func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) { // a slow database
		timer := time.NewTimer(slow)
		defer timer.Stop()
		<-timer.C
		return w.store.Apply(ctx, entries)
	})
	const ago = 90 * time.Second
	w.emit(4, ago)
	imported := testkit.Event("msg_import", "user.created", 1, testkit.UserData("user_import", "", "name", 1, 1))
	imported.Origin = clerk.OriginImport
	w.append(imported)
	undated := testkit.Event("msg_undated", "user.created", 0, testkit.UserData("user_undated", "", "name", 1, 1))
	undated.ReceivedAt = time.Now()
	w.append(undated)
	probe := testkit.Event("msg_probe", clerk.ProbeType, 1, testkit.Object{"id": "probe"})
	probe.Origin = clerk.OriginProbe
	w.append(probe)
	m := w.meter()
	r := w.await(m, "all is applied", func(r *Reading) bool { return *r.Pending == 0 && r.EndToEnd != nil })
	for _, q := range []*Quantiles{r.Delivery, r.Queue, r.EndToEnd} {
		require.Equal(t, 4, value(t, q).Events, "an import, a probe and an event without a time say nothing of how far Clerk is away")
		require.LessOrEqual(t, q.P50, q.P99)
	}
	require.InDelta(t, ago.Seconds(), r.Delivery.P50, 2)
	require.GreaterOrEqual(t, r.Queue.P50, slow.Seconds())
	require.Less(t, r.Queue.P99, testkit.Patience.Seconds())
	require.GreaterOrEqual(t, r.EndToEnd.P50, ago.Seconds()+slow.Seconds())
	require.WithinDuration(t, time.Now(), value(t, r.LastEventReceivedAt), testkit.Patience)

	again := w.measure(w.meter()) // after a restart
	require.Equal(t, r.Delivery, again.Delivery)
	require.Equal(t, r.Queue, again.Queue)
	require.Equal(t, r.EndToEnd, again.EndToEnd)
	require.Equal(t, r.LastEventReceivedAt, again.LastEventReceivedAt)
	require.Same(t, r.EndToEnd, w.measure(m).EndToEnd, "nothing is read again when nothing happened")
}

// TestLagsAfterABackfill: many snapshots after the last webhook do not hide its lag.
func TestLagsAfterABackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker("first", w.store.Apply)
	w.emit(4, time.Minute)
	m := w.meter()
	before := w.await(m, "all is applied", func(r *Reading) bool { return *r.Pending == 0 && r.EndToEnd != nil }).EndToEnd
	for i := range sampled + 10 {
		snapshot := testkit.Event(fmt.Sprint("msg_snapshot", i), "user.snapshot", 1, testkit.UserData(fmt.Sprint("user_snapshot", i), "", "name", 1, 1))
		snapshot.Origin = clerk.OriginBackfill
		w.append(snapshot)
	}
	r := w.await(m, "all is applied", func(r *Reading) bool { return *r.Pending == 0 })
	require.Equal(t, 4, before.Events)
	kept := value(t, r.EndToEnd) // of as many as stood beside snapshots in the last reading that had any
	require.Contains(t, []int{1, 2, 3, 4}, kept.Events)
	require.InDelta(t, before.P50, kept.P50, 1)
	require.Equal(t, before, w.measure(w.meter()).EndToEnd, "after a restart")
}

// TestTwoWorkers: both answer, and nothing is counted twice.
func TestTwoWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker("first", w.store.Apply)
	w.worker("second", w.store.Apply)
	w.emit(50, time.Second)
	r := w.await(w.meter(), "all is applied", func(r *Reading) bool {
		return *r.Pending == 0 && len(r.Workers) == 2 && r.Workers[0].Applied+r.Workers[1].Applied == 50
	})
	require.Equal(t, "first", r.Workers[0].Name)
	require.Equal(t, "second", r.Workers[1].Name)
	require.Equal(t, 50, value(t, r.EndToEnd).Events)
	require.True(t, r.InStep)
}

// TestRedelivery: an event that is redelivered again and again stays pending.
func TestRedelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(1, time.Second)
	ctx, stop := context.WithCancel(t.Context())
	ended, again := make(chan error, 1), make(chan struct{}, 1)
	go func() {
		ended <- w.log.Consume(ctx, func(msg *eventlog.Message) {
			if msg.Return() == nil && msg.Deliveries > 3 {
				select {
				case again <- struct{}{}:
				default:
				}
			}
		})
	}()
	<-again
	m := w.meter()
	r := w.measure(m)
	require.EqualValues(t, 1, value(t, r.Pending))
	age := value(t, r.OldestPendingAge)
	require.Positive(t, age)
	w.await(m, "its age goes on growing", func(r *Reading) bool { return *r.Pending == 1 && *r.OldestPendingAge > age+0.1 })
	stop()
	require.NoError(t, <-ended)
}

// TestFailingWorker: the verdict names the cause and its beginning, even without a
// database.
func TestFailingWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now()
	w.worker("first", func(context.Context, []store.Entry) ([]store.Outcome, error) {
		return nil, context.DeadlineExceeded
	})
	w.emit(2, time.Second)
	receiver := NewMeter(w.log, nil, false, w.meter().logger)
	r := w.await(receiver, "the worker says that it fails", func(r *Reading) bool { return r.State == Stuck })
	require.False(t, r.InStep)
	require.Regexp(t, `^stuck: PostgreSQL does not answer in time since .*\d\d:\d\d UTC; 2 events wait, the oldest for [\d.]+ m?s$`, r.Verdict)
	require.Nil(t, r.PostgreSQL)
	require.Nil(t, r.EndToEnd)
	require.WithinRange(t, r.Workers[0].Failing.Since, began, time.Now())
}

// TestLogAway: no value is 0, and everything is right again when the log is back.
func TestLogAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(2, time.Second)
	m := w.meter()
	w.await(m, "two wait", func(r *Reading) bool { return *r.Pending == 2 })
	away, cancel := context.WithCancel(t.Context())
	cancel() // as good as a server that does not answer
	r := m.Measure(away)
	require.Equal(t, Unknown, r.State)
	require.Equal(t, "unknown: the event log cannot be read; is NATS running?", r.Verdict)
	require.False(t, r.EventLog.OK)
	require.Nil(t, r.Pending)
	require.Nil(t, r.OldestPendingAge)
	require.Nil(t, r.DeadLetters)
	r = w.measure(m)
	require.EqualValues(t, 2, value(t, r.Pending))
}

// TestInstances: two Clerk instances in one log give a warning.
func TestInstances(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.emit(1, 0)
	m := w.meter()
	require.Empty(t, w.measure(m).Warnings)
	other := testkit.Event("msg_other", "user.created", time.Now().UnixMilli(), testkit.UserData("user_other", "", "name", 1, 1))
	other.Envelope.InstanceID = "ins_other"
	other.ReceivedAt = time.Now()
	w.append(other)
	r := w.measure(m)
	require.Equal(t, "the last events are of 2 Clerk instances, and one database holds one", r.Warnings[0].Text)
	require.Equal(t, 2, r.instances)
}

// TestWrongInstance: a delivery that was parked for its Clerk instance is the last one
// received, until a delivery is stored or the letter is gone.
func TestWrongInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker("first", w.store.Apply)
	attend(t, w.log, Process{Receiver: &Receiver{Name: "web", InstanceID: "ins_ours"}})
	w.emit(1, time.Second)
	m := w.meter()
	w.await(m, "it is applied", func(r *Reading) bool { return r.State == InStep })
	letter := testkit.Event("msg_other", "user.created", time.Now().UnixMilli(), testkit.UserData("user_other", "", "name", 1, 1))
	letter.Envelope.InstanceID, letter.ReceivedAt = "ins_other", time.Now().Add(time.Second).Truncate(time.Millisecond)
	require.NoError(t, w.log.Park(t.Context(), letter, eventlog.Death{Reason: clerk.ErrWrongInstance.Error(), Err: clerk.ErrWrongInstance, Attempts: 1}))
	r := w.measure(m)
	require.Equal(t, CauseWrongInstance, r.Cause)
	require.Equal(t, "refusing: the last delivery was of Clerk instance ins_other and was parked: CLERK_INSTANCE_ID is ins_ours", r.Verdict)
	require.True(t, letter.ReceivedAt.Equal(*r.LastEventReceivedAt))
	require.True(t, letter.ReceivedAt.Equal(*r.Since))

	require.NoError(t, w.log.RemoveLetters(t.Context(), 1))
	require.Equal(t, InStep, w.measure(m).State, "the letter was retried or discarded")
}

// TestClockOfTheReceiverIsSlow: no lag is negative, and there is a warning.
func TestClockOfTheReceiverIsSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker("first", w.store.Apply)
	w.emit(1, -time.Hour)
	r := w.await(w.meter(), "it is applied", func(r *Reading) bool { return r.EndToEnd != nil })
	require.Equal(t, &Quantiles{Events: 1}, r.Delivery)
	require.Equal(t, &Quantiles{Events: 1}, r.EndToEnd)
	require.Len(t, r.Warnings, 1)
	require.Regexp(t, "^events were received up to (1 h|59 min|1 h 0 min) before they were emitted: the clock of the receiver is slow$", r.Warnings[0].Text)
}

// TestClockSetBack: the age of the oldest event does not fall to 0.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	stored := time.Unix(1767225600, 0)
	waiting := &eventlog.Backlog{At: stored.Add(10 * time.Second), Pending: 1, Oldest: &eventlog.Message{Seq: 7, StoredAt: stored}}
	var p patience
	began := time.Now()
	require.InDelta(t, 10, *p.age(waiting, began), 0.001)
	waiting.At = stored.Add(-time.Hour)
	require.Nil(t, p.age(waiting, began.Add(30*time.Second)), "not known, and not 0")
	require.Nil(t, new(patience).age(waiting, began), "not at the first look either")
	waiting.At = stored.Add(-time.Second / 2)
	require.InDelta(t, 35, *p.age(waiting, began.Add(35*time.Second)), 0.001)
	waiting.At = stored.Add(50 * time.Second)
	require.InDelta(t, 50, *p.age(waiting, began.Add(40*time.Second)), 0.001)
	require.Nil(t, p.age(&eventlog.Backlog{Pending: 1}, began), "nobody knows what waits")
	require.Zero(t, *p.age(&eventlog.Backlog{}, began))
}

// TestPace: the rates, and how long nothing was applied.
func TestPace(t *testing.T) {
	t.Parallel()
	began := time.Now()
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	var p pace
	p.add(&eventlog.Backlog{Last: 1000, Pending: 500}, at(0))
	stored, applied := p.rates()
	require.Nil(t, stored, "one point makes no rate")
	require.Nil(t, applied)
	p.add(&eventlog.Backlog{Last: 1100, Pending: 400}, at(10))
	stored, applied = p.rates()
	require.InDelta(t, 10, *stored, 0.001)
	require.InDelta(t, 20, *applied, 0.001)
	require.Zero(t, p.still(at(10)))
	p.add(&eventlog.Backlog{Last: 1200, Pending: 500}, at(20))
	require.Equal(t, 10*time.Second, p.still(at(20)))
	p.add(&eventlog.Backlog{Last: 1200, Pending: 500}, at(200))
	stored, applied = p.rates()
	require.Zero(t, *stored, "what was long ago does not count")
	require.Zero(t, *applied)
	require.Equal(t, 190*time.Second, p.still(at(200)))
	p.add(&eventlog.Backlog{Last: 1200}, at(201))
	require.Zero(t, p.still(at(201)))
	p.add(&eventlog.Backlog{Last: 3, Pending: 3}, at(202)) // the log was made anew
	stored, _ = p.rates()
	require.Nil(t, stored)
}

// TestQuantiles: nearest rank.
func TestQuantiles(t *testing.T) {
	t.Parallel()
	require.Nil(t, quantiles(nil))
	require.Equal(t, &Quantiles{3, 3, 1}, quantiles([]float64{3}))
	require.Equal(t, &Quantiles{0, 2, 2}, quantiles([]float64{2, -1}))
	var hundred []float64
	for i := 200; i > 0; i-- {
		hundred = append(hundred, float64(i))
	}
	require.Equal(t, &Quantiles{100, 198, 200}, quantiles(hundred))
}

// TestManyEventsAtOnce: of a burst between two readings, the last events are sampled.
func TestManyEventsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.meter()
	w.emit(3, time.Second)
	w.measure(m)
	w.emit(2*sampled+100, time.Second)
	last := w.n
	r := w.measure(m)
	msg, err := w.log.Get(t.Context(), uint64(last))
	require.NoError(t, err)
	require.True(t, msg.Event.ReceivedAt.Equal(*r.LastEventReceivedAt))
	require.Len(t, m.recent.events, sampled)
	require.NotNil(t, m.recent.usualGap())
}

// TestReadingInPostgreSQL: the view shows the reading, and unknown when it is old.
func TestReadingInPostgreSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	type row struct {
		inStep         bool
		state, verdict string
		pending        *int64
		age, p99       *float64
		last           *time.Time
	}
	read := func() row {
		var r row
		err := w.store.Pool().QueryRow(t.Context(), `SELECT in_step, state, verdict, pending, oldest_pending_age_seconds, end_to_end_p99_seconds, last_event_received_at FROM sync_lag`).
			Scan(&r.inStep, &r.state, &r.verdict, &r.pending, &r.age, &r.p99, &r.last)
		require.NoError(t, err)
		return r
	}
	require.Equal(t, row{state: "unknown", verdict: "unknown: no worker has measured yet; is one running?"}, read())

	p := w.worker("first", w.store.Apply)
	w.emit(2, time.Second)
	m := w.meter()
	watch := NewWatch(m, prometheus.NewRegistry())
	w.await(m, "all is applied", func(r *Reading) bool { return *r.Pending == 0 && r.EndToEnd != nil })
	watch.take(t.Context())
	r, got := watch.Latest(), read()
	require.True(t, r.LastEventReceivedAt.Equal(*got.last))
	got.last = r.LastEventReceivedAt // its zone is another
	require.Equal(t, row{true, "in_step", "in step", new(int64), new(float64), &r.EndToEnd.P99, r.LastEventReceivedAt}, got)

	w.stop(p)
	w.emit(1, time.Second)
	w.await(m, "one waits", func(r *Reading) bool { return *r.Pending == 1 })
	watch.take(t.Context())
	require.EqualValues(t, 1, *read().pending)
	_, err := w.store.Pool().Exec(t.Context(), "UPDATE sync_status SET measured_at = measured_at - interval '10 minutes'")
	require.NoError(t, err)
	got = read()
	require.False(t, got.inStep)
	require.Equal(t, "unknown", got.state)
	require.Regexp(t, `^unknown: no worker has measured since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; is one running, and can it write\?$`, got.verdict)
	require.Greater(t, *got.age, 600.0, "what waited waits on")
}

// TestJSONOfAReading: the names are a contract, and unknown values are null.
func TestJSONOfAReading(t *testing.T) {
	t.Parallel()
	text, err := json.MarshalIndent(Reading{State: Unknown, Verdict: "v", Warnings: []Warning{}}, "", " ")
	require.NoError(t, err)
	require.JSONEq(t, `{
		"in_step": false, "state": "unknown", "cause": "", "why": "", "since": null, "fix": "", "silent": false, "verdict": "v", "measured_at": "0001-01-01T00:00:00Z",
		"pending": null, "in_work": null, "oldest_pending_age_seconds": null,
		"stored_per_second": null, "applied_per_second": null, "seconds_left": null,
		"lost": null, "last_event_received_at": null, "silence": null,
		"delivery_seconds": null, "queue_seconds": null, "end_to_end_seconds": null,
		"dead_letters": null, "workers": null, "receivers": null, "probe": null, "event_log": {"ok": false}, "postgresql": null, "warnings": []
	}`, string(text))
}

// TestOutageHasNoAddress: pages show fixed words only.
func TestOutageHasNoAddress(t *testing.T) {
	t.Parallel()
	err := testkit.OpenStore(t, "postgres://someone:hunter2@127.0.0.1:1/db").Ping(t.Context())
	require.Error(t, err)
	require.Equal(t, "PostgreSQL refuses connections", store.Outage(err))
	require.Equal(t, "PostgreSQL cannot be reached", store.Outage(errors.New("hunter2")))
}

// TestPostgreSQLOutOfOurReach: an outage that only this process sees is not the workers'.
func TestPostgreSQLOutOfOurReach(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := testkit.OpenStore(t, "postgres://someone:hunter2@127.0.0.1:1/db")
	logger := slog.New(slog.DiscardHandler)
	alone := w.await(NewMeter(w.log, st, false, logger), "nobody reaches it", func(r *Reading) bool { return r.State == Stuck })
	require.Contains(t, alone.Verdict, "stuck: PostgreSQL refuses connections since ")

	w.worker("first", w.store.Apply)
	r := w.await(NewMeter(w.log, st, false, logger), "a worker reaches it", func(r *Reading) bool { return len(r.Workers) == 1 })
	require.Equal(t, "in step", r.Verdict)
	require.False(t, r.PostgreSQL.OK)
	require.Len(t, r.Warnings, 1)
	require.Equal(t, "PostgreSQL refuses connections, asked from here, so the lags are not known; the workers reach it", r.Warnings[0].Text)
	own := w.measure(NewMeter(w.log, st, true, logger))
	require.Equal(t, Stuck, own.State, "it is what our own worker writes to")
}

// TestAnotherDatabase: without the tables there are no lags, and a warning.
func TestAnotherDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker("first", w.store.Apply)
	w.emit(1, time.Second)
	w.await(w.meter(), "it is applied", func(r *Reading) bool { return r.EndToEnd != nil })
	other := testkit.OpenStore(t, testkit.EmptyDatabaseURL(t))
	r := w.measure(NewMeter(w.log, other, false, slog.New(slog.DiscardHandler)))
	require.Nil(t, r.EndToEnd)
	require.Len(t, r.Warnings, 1)
	require.Regexp(t, `^\d+ migrations are pending, asked from here, so the lags are not known; the workers reach it$`, r.Warnings[0].Text)
}
