package lag

import "time"

const (
	// fineLength is the number of samples kept as they are: an hour of them.
	fineLength = int(time.Hour / watchInterval)

	// coarseTime is how long samples are kept beyond that, one a minute.
	coarseTime = 23 * time.Hour
)

// history keeps the samples of a day.
type history struct {
	fine, coarse []Sample
	merged       int // samples in the last one of coarse
}

func (h *history) add(s Sample) {
	h.fine = append(h.fine, s)
	if len(h.fine) <= fineLength {
		return
	}
	old := h.fine[0]
	h.fine = append(h.fine[:0], h.fine[1:]...)
	if n := len(h.coarse); n > 0 && h.coarse[n-1].At.Truncate(time.Minute).Equal(old.At.Truncate(time.Minute)) {
		h.merged++
		h.coarse[n-1] = h.coarse[n-1].merge(old, h.merged)
		return
	}
	h.coarse, h.merged = append(h.coarse, old), 1
	for old.At.Sub(h.coarse[0].At) > coarseTime {
		h.coarse = append(h.coarse[:0], h.coarse[1:]...)
	}
}

// samples returns a copy, the oldest first.
func (h *history) samples() []Sample {
	return append(append([]Sample(nil), h.coarse...), h.fine...)
}

// merge adds the n-th sample of a minute: the worst lags and backlog, and the mean rates.
func (s Sample) merge(next Sample, n int) Sample {
	s.Pending = greater(s.Pending, next.Pending, func(v uint64) float64 { return float64(v) })
	s.OldestPendingAge = greater(s.OldestPendingAge, next.OldestPendingAge, func(v float64) float64 { return v })
	p99 := func(q Quantiles) float64 { return q.P99 }
	s.Delivery = greater(s.Delivery, next.Delivery, p99)
	s.Queue = greater(s.Queue, next.Queue, p99)
	s.EndToEnd = greater(s.EndToEnd, next.EndToEnd, p99)
	s.Outcomes = mean(s.Outcomes, next.Outcomes, n)
	s.Received = mean(s.Received, next.Received, n)
	return s
}

// greater returns the pointer to the greater value; a nil one is less.
func greater[T any](a, b *T, of func(T) float64) *T {
	if a == nil || b != nil && of(*b) > of(*a) {
		return b
	}
	return a
}

// mean adds the n-th rates to the mean of those before. A nil map has none.
func mean(all, next map[string]float64, n int) map[string]float64 {
	if all == nil || next == nil {
		return all
	}
	sum := map[string]float64{}
	for name, v := range next {
		sum[name] = all[name] + (v-all[name])/float64(n)
	}
	return sum
}
