package source

import "time"

// WithoutPauses lets a client retry at once.
func WithoutPauses(c *Client) *Client {
	c.testOnlyPause = time.Millisecond
	return c
}

// ForgetUnknown lets the time pass for which a puller remembers unknown ids, and Unknown
// returns how many it does.
func ForgetUnknown(p *Puller) {
	for id := range p.unknown {
		p.unknown[id] = time.Time{}
	}
}

func Unknown(p *Puller) int { return len(p.unknown) }

// WithTimeout bounds the pulls of p by another time.
func WithTimeout(p *Puller, d time.Duration) *Puller {
	p.testOnlyTimeout = d
	return p
}
