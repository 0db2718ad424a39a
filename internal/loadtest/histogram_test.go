package loadtest

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestQuantilesAreCloseToTheTruth: never below it, and at most 1/64 above.
func TestQuantilesAreCloseToTheTruth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour/time.Microsecond)), 1, 300).Draw(t, "microseconds")
		var h histogram
		for _, v := range all {
			h.add(time.Duration(v) * time.Microsecond)
		}
		slices.Sort(all)
		for _, percent := range []int{0, 1, 50, 90, 99, 100} {
			truth := all[max((len(all)*percent+99)/100, 1)-1]
			got := h.quantile(float64(percent) / 100).Microseconds()
			require.GreaterOrEqual(t, got, truth)
			require.LessOrEqual(t, got, truth+truth/64)
		}
		require.Equal(t, time.Duration(all[len(all)-1])*time.Microsecond, h.max)
	})
}

func TestHistogramAtItsEnds(t *testing.T) {
	t.Parallel()
	var h histogram
	require.Nil(t, h.latency())
	require.Zero(t, h.mean())
	h.add(-time.Second) // a clock that was set back
	require.Zero(t, h.quantile(.5))
	h.add(1000 * 24 * time.Hour)
	require.Equal(t, 1000*24*time.Hour, h.max)
	require.Equal(t, len(h.counts)-1, bucket(1<<63))
	for i := range len(h.counts) - 1 {
		require.Equal(t, []int{i, i + 1}, []int{bucket(upper(i)), bucket(upper(i) + 1)})
	}
}
