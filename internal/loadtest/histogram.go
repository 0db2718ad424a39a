package loadtest

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in buckets that are at most 1/64 wide, so that a run of any
// length takes the same memory.
type histogram struct {
	counts [2432]uint64
	n      uint64
	sum    time.Duration
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d.Microseconds()))]++
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// mean returns the mean, 0 when there are none.
func (h *histogram) mean() time.Duration { return h.sum / time.Duration(max(h.n, 1)) }

// quantile returns the duration that a share q of all does not exceed, 0 when there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.n)))
	for i, seen := 0, uint64(0); i < len(h.counts) && h.n > 0; i++ {
		if seen += h.counts[i]; seen >= max(rank, 1) {
			return min(time.Duration(upper(i))*time.Microsecond, h.max)
		}
	}
	return h.max
}

// bucket returns the index of a value: below 128 the value itself, above it the 7 leading
// bits and how many follow. The last bucket has all values of 13 days and more.
func bucket(v uint64) int {
	if v < 128 {
		return int(v)
	}
	shift := min(bits.Len64(v)-7, 36)
	return min(64*shift+int(v>>shift), len(histogram{}.counts)-1)
}

// upper returns the greatest value of a bucket.
func upper(i int) uint64 {
	if i < 128 {
		return uint64(i)
	}
	shift := i/64 - 1
	return (uint64(i-64*shift)+1)<<shift - 1
}
