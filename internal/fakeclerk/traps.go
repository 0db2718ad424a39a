package fakeclerk

import (
	"net/http"
	"time"
)

// Traps are the ways in which the Backend API can fail or surprise. The zero value is
// Clerk on a good day, whose rate limit and limits of a page hold all the same.
type Traps struct {
	// Unlimited switches the rate limit off.
	Unlimited bool
	// Unresolved answers every request with 404 resource_not_found, as Clerk does when it
	// cannot resolve the instance of a key, for example because it was deleted.
	Unresolved bool
	// NoWebhooks tells that the instance has no Svix app: nobody has opened its webhook page.
	NoWebhooks bool
	// ForgetCursor answers a starting_after whose user was deleted with 404. Clerk does not
	// document that case; without this trap, such a cursor keeps its place.
	ForgetCursor bool
	// Delay is how long every answer takes.
	Delay time.Duration
	// Fault decides how a request fails; nil for not at all.
	Fault func(*http.Request) Fault
	// BeforeRead and AfterRead are called around the reading of each answer. They may
	// change the instance: between two pages, and so that an answer is outdated when it
	// arrives. Nil for nothing.
	BeforeRead, AfterRead func(*http.Request)
}

// Fault is how a request fails.
type Fault int

// The faults.
const (
	NoFault       Fault = iota
	TooMany             // 429 with a Retry-After of one second
	InternalError       // 500 with Clerk's error as JSON
	BadGateway          // 502 with a page of HTML, from a proxy before Clerk
	Truncated           // 200, and a body that ends in the middle of its JSON
	Cut                 // 200, and a connection that ends in the middle of the body
	Hang                // no answer until the client gives up
)

// SetTraps replaces the traps. Requests in progress keep those they began with.
func (c *Clerk) SetTraps(t Traps) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.traps = t
}

// Stats counts the requests with the right key.
type Stats struct {
	Requests int // all of them
	Limited  int // those of them answered with 429 by the rate limit
	Busiest  int // most of them in any [RateWindow]
}

// Stats returns the counts since the start.
func (c *Clerk) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// admit counts a request and asks the rate limit. It returns how long to wait, 0 for not
// at all.
func (c *Clerk) admit() (Traps, time.Duration) {
	now := c.o.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Requests++
	for len(c.recent) > 0 && now.Sub(c.recent[0]) >= RateWindow {
		c.recent = c.recent[1:]
	}
	c.recent = append(c.recent, now)
	c.stats.Busiest = max(c.stats.Busiest, len(c.recent))
	if c.traps.Unlimited {
		return c.traps, 0
	}
	reservation := c.limiter.ReserveN(now, 1)
	wait := reservation.DelayFrom(now)
	if wait > 0 {
		reservation.CancelAt(now)
		c.stats.Limited++
	}
	return c.traps, wait
}
