package lag

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestHistory: all samples of the last hour, one a minute of a day, and no more.
func TestHistory(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC)
	var h history
	n := int(30 * time.Hour / watchInterval)
	for i := range n {
		s := Sample{At: begun.Add(time.Duration(i) * watchInterval), Pending: new(uint64(i % 12)), Outcomes: map[string]float64{"applied": float64(i % 12)}}
		if i%12 == 7 {
			s.Queue = &Quantiles{P50: 1, P99: 2, Events: 3}
		}
		h.add(s)
	}
	all := h.samples()
	last := begun.Add(time.Duration(n-1) * watchInterval)
	require.Equal(t, last, all[len(all)-1].At)
	require.WithinRange(t, all[0].At, last.Add(-24*time.Hour-time.Minute), last.Add(-24*time.Hour+time.Minute))
	for i := range all[1:] {
		step := watchInterval
		if i < len(all)-fineLength {
			step = time.Minute
		}
		require.Equal(t, step, all[i+1].At.Sub(all[i].At), i)
	}
	old := all[0]
	require.EqualValues(t, 11, *old.Pending, "the worst of the minute")
	require.InDelta(t, 5.5, old.Outcomes["applied"], 1e-9, "the mean of the minute")
	require.Equal(t, &Quantiles{P50: 1, P99: 2, Events: 3}, old.Queue)
	require.Nil(t, old.Received)
}
