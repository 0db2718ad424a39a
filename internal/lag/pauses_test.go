package lag

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/testkit"
)

// TestLongestPauses: bisection finds the same pauses as a full scan, whatever is erased.
func TestLongestPauses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		began := time.Unix(1767225600, 0)
		at := began
		var seqs []uint64
		times := map[uint64]time.Time{}
		last := uint64(rapid.IntRange(1, 200).Draw(t, "last"))
		for seq := uint64(1); seq <= last; seq++ {
			at = at.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "gap")) * time.Second)
			if rapid.IntRange(0, 3).Draw(t, "erased") > 0 {
				seqs = append(seqs, seq)
				times[seq] = at
			}
		}
		n := rapid.IntRange(1, 5).Draw(t, "n")
		least := time.Duration(rapid.IntRange(1, 40).Draw(t, "least")) * time.Second
		var want []time.Duration
		for i := 1; i < len(seqs); i++ {
			if gap := times[seqs[i]].Sub(times[seqs[i-1]]); gap >= least {
				want = append(want, gap)
			}
		}
		slices.SortFunc(want, func(a, b time.Duration) int { return int(b - a) })
		want = want[:min(n, len(want))]

		pauses, err := longestPausesOf(1, last, n, least, func(seq uint64) (uint64, time.Time) {
			i, _ := slices.BinarySearch(seqs, seq)
			if i == len(seqs) {
				return 0, time.Time{}
			}
			return seqs[i], times[seqs[i]]
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []time.Duration
		for _, p := range pauses {
			got = append(got, p.length())
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// TestPausesAreFoundByFewLooks: two pauses among a million events.
func TestPausesAreFoundByFewLooks(t *testing.T) {
	t.Parallel()
	const last = 1_000_000
	at := func(seq uint64) time.Time {
		d := time.Duration(seq) * time.Second // eleven days
		if seq > 300_000 {
			d += 3 * time.Hour
		}
		if seq > 700_000 {
			d += 2 * time.Hour
		}
		return time.Unix(1767225600, 0).Add(d)
	}
	looks := 0
	pauses, err := longestPausesOf(1, last, 2, 15*time.Minute, func(seq uint64) (uint64, time.Time) {
		looks++
		return seq, at(seq)
	})
	require.NoError(t, err)
	require.Len(t, pauses, 2)
	require.Equal(t, 3*time.Hour+time.Second, pauses[0].length())
	require.Equal(t, 2*time.Hour+time.Second, pauses[1].length())
	require.Less(t, looks, 1000)
}

// TestPausesOfALog: probes do not count.
func TestPausesOfALog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	find := func() []pause {
		pauses, err := findPauses(t.Context(), w.log, time.Now().Add(-time.Hour), 2, time.Nanosecond)
		require.NoError(t, err)
		return pauses
	}
	require.Empty(t, find(), "an empty log")

	probe := func(i int) {
		e := testkit.Event(fmt.Sprint("probe_", i), clerk.ProbeType, 1767225600000, testkit.Object{"id": "probe"})
		e.Origin = clerk.OriginProbe
		w.append(e)
	}
	probe(1)
	w.emit(1, 0)
	probe(2)
	probe(3)
	probe(4)
	w.emit(1, 0)
	probe(5)
	first, err := w.log.Get(t.Context(), 2)
	require.NoError(t, err)
	second, err := w.log.Get(t.Context(), 6)
	require.NoError(t, err)
	require.Equal(t, []pause{{from: first.StoredAt, to: second.StoredAt}}, find())
}
