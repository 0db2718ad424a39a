package lag

import "time"

// longestPausesOf looks for pauses among events of a test's own making.
func longestPausesOf(first, last uint64, n int, least time.Duration, eventFrom func(uint64) (uint64, time.Time)) ([]pause, error) {
	return longestPauses(first, last, n, least, func(seq uint64) (moment, error) {
		seq, at := eventFrom(seq)
		return moment{seq, at}, nil
	})
}
