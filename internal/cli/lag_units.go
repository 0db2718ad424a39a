package cli

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// humane says how long something takes, in the two largest units that matter.
func humane(seconds float64) string {
	if seconds < 0 { // by two clocks that differ
		return "-" + humane(-seconds)
	}
	two := func(n int64, unit string, m int64, smaller string) string {
		if m == 0 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		return fmt.Sprintf("%d %s %d %s", n, unit, m, smaller)
	}
	switch s := int64(math.Round(seconds)); {
	case seconds < 0.00005:
		return "0 ms"
	case seconds < 0.00995:
		return fmt.Sprintf("%.1f ms", seconds*1000)
	case seconds < 0.9995:
		return fmt.Sprintf("%.0f ms", seconds*1000)
	case seconds < 9.95:
		return fmt.Sprintf("%.1f s", seconds)
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return two(s/60, "min", s%60, "s")
	case s < 24*3600:
		return two(s/3600, "h", s%3600/60, "min")
	default:
		return two(s/86400, "d", s%86400/3600, "h")
	}
}

// since is how long ago something was, at a time.
func since(then, now time.Time) string { return humane(max(now.Sub(then).Seconds(), 0)) }

// perSecond is a rate.
func perSecond(n float64) string {
	if n > 0 && n < 9.95 {
		return fmt.Sprintf("%.1f/s", n)
	}
	return fmt.Sprintf("%.0f/s", n)
}

// bytesOf is a size, in units of a thousand.
func bytesOf(n uint64) string {
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

// sparkline draws numbers as bars, the greatest as high as can be. What is more than
// nothing is higher than what is not; what is not known, nil, is left out.
func sparkline(values []*float64) string {
	most := 0.0
	for _, v := range values {
		if v != nil {
			most = max(most, *v)
		}
	}
	var b strings.Builder
	for _, v := range values {
		switch {
		case v == nil:
			b.WriteByte(' ')
		case *v <= 0:
			b.WriteRune('▁')
		default:
			b.WriteRune([]rune("▂▃▄▅▆▇█")[int(math.Ceil(*v/most*7))-1])
		}
	}
	return b.String()
}
