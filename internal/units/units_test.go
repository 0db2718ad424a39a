package units_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/units"
)

func TestSeconds(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[float64]string{
		0: "0 ms", 0.00004: "0 ms", 0.00006: "0.1 ms", 0.0023: "2.3 ms", 0.00994: "9.9 ms", 0.00996: "10 ms", 0.183: "183 ms",
		0.9996: "1.0 s", 1.25: "1.2 s", 9.94: "9.9 s", 9.96: "10 s", 42: "42 s", 59.4: "59 s", 59.6: "1 min", 60: "1 min", 200: "3 min 20 s",
		3599.6: "1 h", 3900: "1 h 5 min", 86399.6: "1 d", 90000: "1 d 1 h", 8640000: "100 d", -0.3: "-300 ms", -0.00001: "-0 ms",
	} {
		require.Equal(t, want, units.Seconds(seconds), "%v", seconds)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	for n, want := range map[float64]string{0: "0/s", 0.04: "0.0/s", 0.5: "0.5/s", 9.94: "9.9/s", 9.96: "10/s", 1234.5: "1234/s"} {
		require.Equal(t, want, units.Rate(n), "%v", n)
	}
}

func TestBytes(t *testing.T) {
	t.Parallel()
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 9_960: "10 kB", 180_000: "180 kB", 999_499: "999 kB", 999_999: "1.0 MB", 2_400_000: "2.4 MB",
		1 << 63: "9223 PB",
	} {
		require.Equal(t, want, units.Bytes(n), "%v", n)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	require.Equal(t, "1 event", units.Count(1, "event", "events"))
	require.Equal(t, "0 events", units.Count(uint64(0), "event", "events"))
}
