package fakeclerk

import "strings"

// Clerk's ids are a prefix and a KSUID: 32 bits of seconds and 128 bits of chance, in 27
// letters of base 62 that sort by time.
const (
	ksuidEpoch   = 1_400_000_000 // Unix seconds
	ksuidLetters = 27
	base62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

func appendID(b []byte, prefix string, ms int64, hi, lo uint64) []byte {
	words := [5]uint32{uint32(ms/1000 - ksuidEpoch), uint32(hi >> 32), uint32(hi), uint32(lo >> 32), uint32(lo)}
	b = append(b, prefix...)
	start := len(b)
	b = append(b, "000000000000000000000000000"...)
	for i := start + ksuidLetters - 1; i >= start; i-- {
		var rest uint64
		for w := range words {
			rest = rest<<32 | uint64(words[w])
			words[w] = uint32(rest / 62)
			rest %= 62
		}
		b[i] = base62[rest]
	}
	return b
}

// lowBits returns the last 64 bits of a KSUID.
func lowBits(ksuid string) (uint64, bool) {
	if len(ksuid) != ksuidLetters {
		return 0, false
	}
	var n uint64 // overflows, which leaves the last bits
	for i := range len(ksuid) {
		digit := strings.IndexByte(base62, ksuid[i])
		if digit < 0 {
			return 0, false
		}
		n = n*62 + uint64(digit)
	}
	return n, true
}

// mix is splitmix64: it turns a seed and a number into 64 bits of chance.
func mix(seed, n uint64) uint64 {
	z := seed + (n+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// newID returns the next id with this prefix, created at that time in Unix milliseconds.
func (c *Clerk) newID(prefix string, at int64) string {
	c.ids++
	return string(appendID(nil, prefix, at, mix(c.o.Seed, 2*c.ids), mix(c.o.Seed, 2*c.ids+1)))
}
