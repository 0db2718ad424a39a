package receiver

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

// lags returns the count and sum of a histogram.
type lags struct {
	count  uint64
	sum    float64
	within map[float64]uint64 // seconds
	native bool
}

func (e *endpoint) lags() (l lags) {
	e.t.Helper()
	families, err := e.registry.Gather()
	require.NoError(e.t, err)
	for _, f := range families {
		if f.GetName() != "clerksync_delivery_lag_seconds" {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		l = lags{h.GetSampleCount(), h.GetSampleSum(), map[float64]uint64{}, len(h.GetPositiveSpan()) > 0}
		for _, b := range h.GetBucket() {
			l.within[b.GetUpperBound()] = b.GetCumulativeCount()
		}
	}
	return l
}

// disagreements reads clerksync_clock_disagreements_total.
func (e *endpoint) disagreements() float64 {
	return testkit.Values(e.t, e.registry, "clerksync_clock_disagreements_total")[""]
}

// emitted returns a user event emitted ago.
func emitted(before time.Duration) []byte {
	return fmt.Appendf(nil, `{"data":{"id":"user_1"},"object":"event","timestamp":%d,"type":"user.created"}`, now.Add(-before).UnixMilli())
}

// TestDeliveryLag: only stored events count. An event from the future counts as 0, and
// beyond a second as a disagreement.
func TestDeliveryLag(t *testing.T) {
	t.Parallel()
	e := start(t)
	deliver := func(id string, body []byte, count uint64, sum, disagreements float64) {
		t.Helper()
		require.Equal(t, 204, e.deliver(secretA, id, body))
		require.Equal(t, count, e.lags().count)
		require.InDelta(t, sum, e.lags().sum, 1e-9)
		require.Equal(t, disagreements, e.disagreements())
	}
	require.Zero(t, e.lags().count)
	require.Zero(t, e.disagreements())

	deliver("msg_1", emitted(1500*time.Millisecond), 1, 1.5, 0)
	deliver("msg_2", emitted(27*time.Hour), 2, 1.5+27*3600, 0)
	deliver("msg_2", emitted(27*time.Hour), 2, 1.5+27*3600, 0) // a duplicate
	deliver("msg_3", emitted(0), 3, 1.5+27*3600, 0)
	deliver("msg_4", emitted(-time.Second), 4, 1.5+27*3600, 0)
	deliver("msg_5", emitted(-1001*time.Millisecond), 5, 1.5+27*3600, 1)
	deliver("msg_6", []byte(`{"type":"user.created","data":{"id":"user_1"}}`), 5, 1.5+27*3600, 1)                      // does not say when
	deliver("msg_7", event("session.created", `{"id":"sess_1"}`), 5, 1.5+27*3600, 1)                                   // is not stored
	deliver("msg_8", []byte(`{"type":"user.created","timestamp":1768208400426,"data":{"id":"."}}`), 5, 1.5+27*3600, 1) // is parked
	deliver("msg_9", clerk.ProbeBody(now.Add(-time.Hour)), 5, 1.5+27*3600, 1)

	l := e.lags()
	require.Len(t, l.within, 21)
	require.Equal(t, []uint64{3, 3, 4, 5}, []uint64{l.within[.001], l.within[1], l.within[2.5], l.within[28*3600]})
	require.True(t, l.native, "and as a native histogram")
}

// TestProbe: a probe is stored whatever the settings say about Clerk's events.
func TestProbe(t *testing.T) {
	t.Parallel()
	e := start(t, func(o *Options) { o.Store, o.InstanceID = []string{"user.deleted"}, "ins_2abc" })
	body := clerk.ProbeBody(now)
	for i, secret := range []string{secretA, secretB} {
		require.Equal(t, 204, e.deliver(secret, fmt.Sprintf("msg_%d", i), body))
		m := e.messages("CLERK_EVENTS")[i]
		require.Equal(t, "clerk.events.clerksync.probe.probe.-.-", m.Subject)
		require.Equal(t, "probe", m.Header.Get("Clerksync-Origin"))
		require.Equal(t, fmt.Sprintf("msg_%d", i), m.Header.Get("Svix-Id"))
		require.Equal(t, "2026-01-12T09:00:00.426Z", m.Header.Get("Clerksync-Event-At"))
		require.Equal(t, string(body), string(m.Data))
	}
	require.Equal(t, 204, e.deliver(secretB, "msg_0", body))
	require.Equal(t, 401, e.deliver(secretX, "msg_x", body), "only who holds the secret can send one")
	e.requireStored(2, 0)
	e.requireOutcomes(map[string]float64{"stored": 2, "duplicate": 1, "unauthorized": 1})
}

// TestOthersThatCallThemselvesClerksync: only the probe's own type is special.
func TestOthersThatCallThemselvesClerksync(t *testing.T) {
	t.Parallel()
	types := []string{"clerksync.probes", "clerksync.probe.again", "clerksync.other", "Clerksync.probe", "clerksync.*"}
	e := start(t)
	for i, eventType := range types {
		body := bytes.Replace(clerk.ProbeBody(now), []byte(clerk.ProbeType), []byte(eventType), 1)
		require.Contains(t, string(body), `"type":"`+eventType+`"`)
		require.Equal(t, 204, e.deliver(secretA, fmt.Sprintf("msg_%d", i), body))
	}
	e.requireStored(0, 0)
	e.requireOutcomes(map[string]float64{"ignored": float64(len(types))})

	e = start(t, func(o *Options) { o.Store, o.InstanceID = []string{"*"}, "ins_2abc" })
	require.Equal(t, 204, e.deliver(secretA, "msg_1", event("clerksync.other", `{"id":"probe"}`)))
	e.requireStored(0, 1)
}

// TestProbeThatIsNone: a broken probe is parked like any event.
func TestProbeThatIsNone(t *testing.T) {
	t.Parallel()
	e := start(t)
	body := []byte(strings.Replace(string(clerk.ProbeBody(now)), `"id":"probe"`, `"id":"a.b"`, 1))
	require.Equal(t, 204, e.deliver(secretA, "msg_1", body))
	e.requireStored(0, 1)
	e.requireOutcomes(map[string]float64{"parked": 1})
}
