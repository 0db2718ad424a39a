package fakeclerk

import (
	"sort"
	"strconv"
	"strings"
)

// The users of Options.Bulk are a function of the seed and their index.
const (
	bulkEpoch   = 1_672_531_200_000 // 2023-01-01 in Unix milliseconds
	bulkSpacing = 60_000            // milliseconds between two pairs
)

// bulkCreated returns created_at of a user of the bulk.
func (c *Clerk) bulkCreated(i int) int64 {
	if c.o.Bulk == 0 {
		return 0
	}
	return bulkEpoch + int64((i+1)/2)*bulkSpacing
}

// bulkAfter returns the index of the first user of the bulk created after a time.
func (c *Clerk) bulkAfter(ms int64) int {
	return sort.Search(c.o.Bulk, func(i int) bool { return c.bulkCreated(i) > ms })
}

func (c *Clerk) bulkUser(i int) *user {
	chance := mix(c.o.Seed, uint64(i))
	at := c.bulkCreated(i)
	first, last := pickName(chance)
	return &user{order: i - c.o.Bulk, User: User{
		ID:        string(c.appendBulkID(nil, i)),
		Email:     "user-" + strconv.Itoa(i) + "@example.com",
		FirstName: first, LastName: last,
		CreatedAt: at, UpdatedAt: at,
	}}
}

// appendBulkID appends an id whose last bits are the index.
func (c *Clerk) appendBulkID(b []byte, i int) []byte {
	chance := mix(^c.o.Seed, uint64(i))
	return appendID(b, "user_", c.bulkCreated(i), mix(chance, 0), chance&^0xffff_ffff|(uint64(i)^c.o.Seed)&0xffff_ffff)
}

// bulkIndex returns the index of the user of the bulk with this id.
func (c *Clerk) bulkIndex(id string) (int, bool) {
	low, ok := lowBits(strings.TrimPrefix(id, "user_"))
	i := int((low ^ c.o.Seed) & 0xffff_ffff)
	if !ok || i >= c.o.Bulk || string(c.appendBulkID(nil, i)) != id {
		return 0, false
	}
	return i, true
}
