package lag

import "time"

// longestPausesOf runs longestPauses over synthetic events.
func longestPausesOf(first, last uint64, n int, least time.Duration, eventFrom func(uint64) (uint64, time.Time)) ([]pause, error) {
	return longestPauses(first, last, n, least, func(seq uint64) (moment, error) {
		seq, at := eventFrom(seq)
		return moment{seq, at}, nil
	})
}
