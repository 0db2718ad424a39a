package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSparkline(t *testing.T) {
	t.Parallel()
	draw := func(values ...float64) string {
		var all []*float64
		for _, v := range values {
			if v == missing {
				all = append(all, nil)
				continue
			}
			all = append(all, &v)
		}
		return sparkline(all)
	}
	require.Equal(t, "", draw())
	require.Equal(t, "▁▁", draw(0, 0))
	require.Equal(t, "█", draw(0.001))
	require.Equal(t, "▁▂▃▄▅▆▇█", draw(0, 1, 2, 3, 4, 5, 6, 7))
	require.Equal(t, "▂█", draw(1, 1e9), "a little is more than nothing")
	require.Equal(t, " ▁ █", draw(missing, 0, missing, 3))
	require.Equal(t, "  ", draw(missing, missing))
}

const missing = -1
