package lag

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

// TestWatch: it measures from its start on and signals subscribers.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	registry := prometheus.NewRegistry()
	applied := promauto.With(registry).NewCounterVec(prometheus.CounterOpts{Name: "clerksync_applied_total"}, []string{"outcome"})
	applied.WithLabelValues("applied")
	watch := NewWatch(w.meter(), registry)
	require.Nil(t, watch.Latest())
	ear, cancel := watch.Subscribe()
	watch.Start()
	<-ear
	require.NotNil(t, watch.Latest())
	require.NoError(t, watch.Stop(t.Context()))
	n := len(watch.History())
	require.Positive(t, n)

	applied.WithLabelValues("applied").Add(10)
	watch.take(t.Context())
	watch.take(t.Context())
	<-ear // one for both
	select {
	case <-ear:
		t.Fatal("nothing happened since")
	default:
	}
	history := watch.History()
	require.Len(t, history, n+2)
	require.Positive(t, history[n].Outcomes["applied"])
	require.Zero(t, history[n+1].Outcomes["applied"])
	require.Nil(t, history[n].Received, "there is no receiver here")
	cancel()
	watch.take(t.Context())
	select {
	case <-ear:
		t.Fatal("nobody listens")
	default:
	}
}

// TestLagsInTheHistory: a sample has lags only when events were applied since the one
// before. Otherwise a chart would show events that did not happen.
func TestLagsInTheHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker("first", w.store.Apply)
	w.emit(1, time.Second)
	m := w.meter()
	watch := NewWatch(m, prometheus.NewRegistry())
	testkit.Eventually(t, "a lag is seen", func() (bool, any) {
		watch.take(t.Context())
		history := watch.History()
		return history[len(history)-1].EndToEnd != nil, len(history)
	})
	watch.take(t.Context())
	history := watch.History()
	require.Nil(t, history[len(history)-1].EndToEnd)
	require.NotNil(t, watch.Latest().EndToEnd, "the last is known still")
}

// TestLearn: a log that is seconds old gets the limit of a young one.
func TestLearn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.worker("first", w.store.Apply)
	w.emit(fewEvents+5, 0)
	m := w.meter()
	require.InDelta(t, unlearned.Seconds(), w.measure(m).Silence.Limit, 0)
	require.NoError(t, m.Learn(t.Context()))
	r := w.measure(m)
	require.InDelta(t, unlearned.Seconds(), r.Silence.Limit, 0)
	require.Positive(t, *r.Silence.UsualGap)
	require.Less(t, r.Silence.Seconds, testkit.Patience.Seconds())
	w.await(m, "all is applied", func(r *Reading) bool { return r.State == InStep })

	m.recent.events[len(m.recent.events)-1].received = time.Now().Add(-25 * time.Hour)
	r = w.measure(m)
	require.Equal(t, Silent, r.State)
	require.Equal(t, "silent: no event for 1 d 1 h, the limit is 1 d", r.Verdict)
	require.Equal(t, r.Silence.ReachedAt, *r.Since)
}
