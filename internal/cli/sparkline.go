package cli

import (
	"math"
	"strings"
)

// sparkline draws values as bars, scaled to the greatest. A value above zero is higher
// than zero; nil, unknown, is blank.
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
