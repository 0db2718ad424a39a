package directory

import (
	"maps"
	"slices"
	"time"
)

// Codes returns the codes of all problems.
func Codes() []string { return slices.Sorted(maps.Keys(kinds)) }

// Exhaust has a user use up what it may send in the next minute.
func Exhaust(h *Handler, user string) {
	for range 60 * userRate / userBurst {
		h.limits.of(user).ReserveN(time.Now(), userBurst)
	}
}
