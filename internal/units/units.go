// Package units writes durations, rates, sizes and counts for people: the same value
// reads the same in the verdict, in a table and in an error. The dashboard's units.js
// follows the same rules.
package units

import (
	"fmt"
	"math"
	"time"
)

// Seconds writes a duration in the two largest units that matter.
func Seconds(s float64) string {
	if s < 0 { // two clocks differ
		return "-" + Seconds(-s)
	}
	two := func(n int64, unit string, m int64, smaller string) string {
		if m == 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d %s %d %s", n, unit, m, smaller)
	}
	switch n := int64(math.Round(s)); {
	case s < 0.00005:
		return "0 ms"
	case s < 0.00995:
		return fmt.Sprintf("%.1f ms", s*1000)
	case s < 0.9995:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 9.95:
		return fmt.Sprintf("%.1f s", s)
	case n < 60:
		return fmt.Sprintf("%d s", n)
	case n < 3600:
		return two(n/60, "min", n%60, "s")
	case n < 24*3600:
		return two(n/3600, "h", n%3600/60, "min")
	default:
		return two(n/86400, "d", n%86400/3600, "h")
	}
}

// Duration writes a duration as [Seconds] does.
func Duration(d time.Duration) string { return Seconds(d.Seconds()) }

// Since writes the time from then to now, 0 when then is later.
func Since(then, now time.Time) string { return Duration(max(now.Sub(then), 0)) }

// Rate writes a number per second.
func Rate(n float64) string {
	if n > 0 && n < 9.95 {
		return fmt.Sprintf("%.1f/s", n)
	}
	return fmt.Sprintf("%.0f/s", n)
}

// Bytes writes a size, in powers of a thousand.
func Bytes(n uint64) string {
	size, unit := float64(n), "B"
	for _, next := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if size < 999.5 {
			break
		}
		size, unit = size/1000, next
	}
	if unit == "B" || size >= 9.95 {
		return fmt.Sprintf("%.0f %s", size, unit)
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}

// Count writes a number of things.
func Count[N ~int | ~uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
