package projector

import (
	"context"
	"errors"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/testkit"
)

// series is the one series of a name.
func (r *running) series(name string) *dto.Metric {
	r.t.Helper()
	families, err := r.registry.Gather()
	require.NoError(r.t, err)
	for _, f := range families {
		if f.GetName() == name {
			require.Len(r.t, f.GetMetric(), 1)
			return f.GetMetric()[0]
		}
	}
	r.t.Fatalf("there is no series %s", name)
	return nil
}

func (r *running) awaitSettled(n uint64) {
	r.t.Helper()
	testkit.Eventually(r.t, "all are settled", func() (bool, any) {
		got := r.Settled()
		return got == n, got
	})
}

// TestLagsAreMeasured: from being stored for every event, from Clerk for webhooks that
// changed a row.
func TestLagsAreMeasured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const slow = 200 * time.Millisecond
	r := w.start(func(o *Options) {
		o.Apply = func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
			timer := time.NewTimer(slow)
			defer timer.Stop()
			<-timer.C
			return w.store.Apply(ctx, entries)
		}
	})
	at := func(id, user string, ago time.Duration) *clerk.Event {
		emitted := time.Now().Add(-ago).UnixMilli()
		return testkit.Event(id, "user.created", emitted, testkit.UserData(user, "", "name", base, emitted))
	}
	w.append(at("msg_1", "user_1", time.Minute))
	r.awaitSettled(1)
	old := at("msg_2", "user_1", time.Hour) // is stale
	imported := at("msg_3", "user_2", 1000*time.Hour)
	imported.Origin = clerk.OriginImport
	early := at("msg_4", "user_3", -time.Hour) // of a clock that is ahead of ours
	undated := testkit.Event("msg_5", "user.created", 0, testkit.UserData("user_4", "", "name", base, base))
	undated.ReceivedAt = time.Now()
	w.append(old, imported, early, undated)
	r.awaitSettled(5)

	queue := r.series("clerksync_queue_lag_seconds").GetHistogram()
	require.EqualValues(t, 5, queue.GetSampleCount())
	require.GreaterOrEqual(t, queue.GetSampleSum(), 5*slow.Seconds())
	require.Less(t, queue.GetSampleSum(), 5*patience.Seconds())
	endToEnd := r.series("clerksync_end_to_end_lag_seconds").GetHistogram()
	require.EqualValues(t, 2, endToEnd.GetSampleCount(), "msg_1 and msg_4")
	require.GreaterOrEqual(t, endToEnd.GetSampleSum(), time.Minute.Seconds()+slow.Seconds())
	require.Less(t, endToEnd.GetSampleSum(), time.Minute.Seconds()+patience.Seconds(), "and msg_4 is no less than 0")
	for _, h := range []*dto.Histogram{queue, endToEnd} {
		require.NotEmpty(t, h.GetBucket(), "classic")
		require.NotNil(t, h.Schema, "native")
	}
}

// TestBusyAppliers counts the appliers that have a batch.
func TestBusyAppliers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := make(chan struct{})
	r := w.start(func(o *Options) {
		o.Appliers, o.Batch = 3, 1
		o.Apply = func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
			<-release
			return w.store.Apply(ctx, entries)
		}
	})
	require.InDelta(t, 3, r.series("clerksync_appliers").GetGauge().GetValue(), 0)
	require.Zero(t, r.series("clerksync_appliers_busy").GetGauge().GetValue())
	w.append(userEvents(0, 2)...)
	testkit.Eventually(t, "two are busy", func() (bool, any) {
		all, busy := r.Appliers()
		return all == 3 && busy == 2, busy
	})
	require.InDelta(t, 2, r.series("clerksync_appliers_busy").GetGauge().GetValue(), 0)
	close(release)
	testkit.Eventually(t, "none is busy", func() (bool, any) {
		_, busy := r.Appliers()
		return busy == 0, busy
	})
}

// TestFailingIsMeasured while PostgreSQL takes nothing.
func TestFailingIsMeasured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fail := make(chan error, 3)
	for range 3 {
		fail <- context.DeadlineExceeded
	}
	goOn := make(chan struct{})
	r := w.start(func(o *Options) {
		o.Apply = func(ctx context.Context, entries []store.Entry) ([]store.Outcome, error) {
			select {
			case err := <-fail:
				return nil, err
			default:
				<-goOn
				return w.store.Apply(ctx, entries)
			}
		}
	})
	require.Zero(t, r.series("clerksync_apply_failing").GetGauge().GetValue())
	w.append(user(1))
	testkit.Eventually(t, "it fails", func() (bool, any) {
		failing := r.series("clerksync_apply_failing").GetGauge().GetValue()
		return failing == 1, failing
	})
	close(goOn)
	r.awaitSettled(1)
	require.Zero(t, r.series("clerksync_apply_failing").GetGauge().GetValue())
	require.InDelta(t, 3, r.series("clerksync_apply_retries_total").GetCounter().GetValue(), 0)
}

// TestFailingSaysWhatIsWrongNow, and since when something is.
func TestFailingSaysWhatIsWrongNow(t *testing.T) {
	t.Parallel()
	p := New(Options{})
	p.fail(errors.New("first"), 1, 1, 0)
	began, err := p.Failing()
	require.EqualError(t, err, "first")
	p.fail(errors.New("second"), 1, 1, 0)
	since, err := p.Failing()
	require.EqualError(t, err, "second")
	require.Equal(t, began, since)
}
