package token

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCacheIsBounded: it never holds more than two generations, and those in use stay.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache()
	name := func(n int) (d digest) {
		binary.BigEndian.PutUint64(d[:], uint64(n))
		return d
	}
	used := &verified{}
	c.put(name(0), used)
	for i := 1; i <= 10*generation; i++ {
		c.put(name(i), &verified{})
		require.LessOrEqual(t, len(c.young)+len(c.old), 2*generation)
		if i%(generation/2) == 0 {
			require.Same(t, used, c.get(name(0)))
		}
	}
	require.NotNil(t, c.get(name(10*generation)))
	require.NotNil(t, c.get(name(9*generation+1)), "a generation back")
	require.Nil(t, c.get(name(1)), "not used for long")
	c.drop(name(0))
	require.Nil(t, c.get(name(0)))
}
