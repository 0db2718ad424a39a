package token

import (
	"crypto/rsa"
	"crypto/sha256"
	"sync"
	"time"
)

// generation is how many tokens are verified before those not used since are forgotten:
// the cache holds twice as many, of usually 1 KB each.
const generation = 4096

// verified is a token whose signature, issuer and party were found to be right, which
// stays so as long as the key is one of Clerk's. Everything else is checked at each use.
type verified struct {
	claims    Claims
	notBefore time.Time
	category  category
	audiences audiences
	kid       string
	key       *rsa.PublicKey
}

// digest stands for a token, which itself is not kept. No two tokens with one SHA-256 can
// be made.
type digest [sha256.Size]byte

// cache keeps verified tokens, so that each is verified once in its life. It forgets those
// not used for the longest time, by halves.
type cache struct {
	mu         sync.Mutex
	young, old map[digest]*verified
}

func newCache() *cache { return &cache{young: map[digest]*verified{}} }

// get returns a token, or nil.
func (c *cache) get(d digest) *verified {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.young[d]; t != nil {
		return t
	}
	t := c.old[d]
	if t != nil {
		c.add(d, t)
	}
	return t
}

func (c *cache) put(d digest, t *verified) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(d, t)
}

func (c *cache) add(d digest, t *verified) {
	if len(c.young) >= generation {
		c.old, c.young = c.young, make(map[digest]*verified, generation)
	}
	c.young[d] = t
}

func (c *cache) drop(d digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, d)
	delete(c.old, d)
}
