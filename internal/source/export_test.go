package source

import "time"

// WithoutPauses lets a client retry at once.
func WithoutPauses(c *Client) *Client {
	c.testOnlyPause = time.Millisecond
	return c
}

// WithTimeout bounds the pulls of p by another time.
func WithTimeout(p *Puller, d time.Duration) *Puller {
	p.testOnlyTimeout = d
	return p
}
