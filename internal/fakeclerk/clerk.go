package fakeclerk

import (
	"crypto/subtle"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Options configure an instance.
type Options struct {
	// Seed decides ids, names, and the changes of [Clerk.Step].
	Seed uint64
	// InstanceID is the id of the instance; "" makes one from the seed.
	InstanceID string
	// SecretKey is the key of the Backend API; "" makes one of a development instance from
	// the seed. Its prefix decides the rate limit, see [RateLimit].
	SecretKey string
	// Bulk is the number of users that exist besides those that are created. They are made
	// from their index whenever they are asked for, so that a million of them costs no
	// memory. They are older than all others, two of them were created in each millisecond
	// that has any, and they cannot be changed.
	Bulk int
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
	// Emit gets the webhook event of every change, in the order of the changes; nil drops
	// them. It is called with the instance locked and must not call it.
	Emit func(Event)
	// CascadeEvents tells whether the delete of a user or an organization also emits the
	// deletes of its memberships: Clerk does not document it.
	CascadeEvents bool
}

// Clerk is an instance. It is safe for concurrent use.
type Clerk struct {
	o       Options
	limiter *rate.Limiter
	mux     *http.ServeMux

	mu          sync.Mutex
	rng         *rand.Rand
	ids         uint64
	users       []*user // in the order of creation; deleted ones stay, a cursor can name them
	orgs        []*organization
	memberships []*membership
	people      int // see Populate
	traps       Traps
	stats       Stats
	recent      []time.Time // of the requests in the last [RateWindow]
}

// New returns an instance without any users but those of [Options.Bulk].
func New(o Options) *Clerk {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Emit == nil {
		o.Emit = func(Event) {}
	}
	c := &Clerk{o: o, rng: rand.New(rand.NewPCG(o.Seed, 0))}
	if c.o.InstanceID == "" {
		c.o.InstanceID = string(appendID(nil, "ins_", bulkEpoch, mix(o.Seed, 0), mix(o.Seed, 1)))
	}
	if c.o.SecretKey == "" {
		c.o.SecretKey = testKey + string(appendID(nil, "", bulkEpoch, mix(^o.Seed, 0), mix(^o.Seed, 1)))
	}
	limit := RateLimit(c.o.SecretKey)
	c.limiter = rate.NewLimiter(rate.Every(RateWindow/time.Duration(limit)), limit)
	c.mux = c.routes()
	return c
}

// InstanceID returns the id of the instance.
func (c *Clerk) InstanceID() string { return c.o.InstanceID }

// SecretKey returns the key of the Backend API.
func (c *Clerk) SecretKey() string { return c.o.SecretKey }

func (c *Clerk) isKey(key string) bool {
	return subtle.ConstantTimeCompare([]byte(key), []byte(c.o.SecretKey)) == 1
}

// User is a user. Times are Unix milliseconds, 0 for never.
type User struct {
	ID         string `json:"id"`
	Email      string `json:"email,omitempty"` // "" for none
	Unverified bool   `json:"unverified,omitempty"`
	FirstName  string `json:"first_name,omitempty"`
	LastName   string `json:"last_name,omitempty"`
	Username   string `json:"username,omitempty"`
	ExternalID string `json:"external_id,omitempty"`
	Banned     bool   `json:"banned,omitempty"`
	LastSignIn int64  `json:"last_sign_in_at,omitempty"`
	CreatedAt  int64  `json:"created_at"`
	UpdatedAt  int64  `json:"updated_at"`
}

// Organization is an organization.
type Organization struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Slug      string `json:"slug"`
	CreatedBy string `json:"created_by,omitempty"`
	CreatedAt int64  `json:"created_at"`
	UpdatedAt int64  `json:"updated_at"`
}

// Membership is one user's membership in one organization.
type Membership struct {
	ID        string `json:"id"`
	UserID    string `json:"user_id"`
	OrgID     string `json:"org_id"`
	Role      string `json:"role"` // such as org:admin
	CreatedAt int64  `json:"created_at"`
	UpdatedAt int64  `json:"updated_at"`
}

type user struct {
	User
	order   int // of creation; below 0 for the users of Options.Bulk
	deleted bool
}

type organization struct {
	Organization
	members int
}

type membership struct {
	Membership
	user *user
	org  *organization
}

// ErrNotFound tells that there is no such user, organization or membership, or that it is
// one of [Options.Bulk], which cannot be changed.
var ErrNotFound = errors.New("not found")

// Users returns the users that were created and not deleted, oldest first, without those
// of [Options.Bulk].
func (c *Clerk) Users() []User {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []User
	for _, u := range c.liveUsers() {
		all = append(all, u.User)
	}
	return all
}

// Organizations returns the organizations, oldest first.
func (c *Clerk) Organizations() []Organization {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Organization
	for _, o := range c.orgs {
		all = append(all, o.Organization)
	}
	return all
}

// Memberships returns the memberships, oldest first.
func (c *Clerk) Memberships() []Membership {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Membership
	for _, m := range c.memberships {
		all = append(all, m.Membership)
	}
	return all
}

func (c *Clerk) liveUsers() []*user {
	return slices.DeleteFunc(slices.Clone(c.users), func(u *user) bool { return u.deleted })
}

// findUser returns a user that is not deleted, nil when there is none.
func (c *Clerk) findUser(id string) *user {
	if u := c.everUser(id); u != nil && !u.deleted {
		return u
	}
	return nil
}

// everUser returns a user that may be deleted.
func (c *Clerk) everUser(id string) *user {
	if i, ok := c.bulkIndex(id); ok {
		return c.bulkUser(i)
	}
	return find(c.users, func(u *user) bool { return u.ID == id })
}

func (c *Clerk) findOrganization(id string) *organization {
	return find(c.orgs, func(o *organization) bool { return o.ID == id })
}

func (c *Clerk) findMembership(id string) *membership {
	return find(c.memberships, func(m *membership) bool { return m.ID == id })
}

func find[T any](all []*T, is func(*T) bool) *T {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i]
	}
	return nil
}

// The keys of Clerk's Backend API begin with one of these.
const (
	liveKey = "sk_live_"
	testKey = "sk_test_"
)

// RateWindow is the time in which a key has as many requests as its [RateLimit] says.
const RateWindow = 10 * time.Second

// RateLimit returns how many requests a key has in [RateWindow]: 1000 for a production
// instance, 100 for a development instance.
func RateLimit(key string) int {
	if strings.HasPrefix(key, liveKey) {
		return 1000
	}
	return 100
}
