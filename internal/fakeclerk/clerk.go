package fakeclerk

import (
	"crypto/subtle"
	"errors"
	"fmt"
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

// emissionDelay is between a change and the timestamp of its event.
const emissionDelay = 7 // milliseconds

// at returns the time of a change. The event of a change that happens now is emitted now,
// and not in the future: the change was a little earlier.
func (c *Clerk) at() int64 {
	return max(c.o.Now().UnixMilli()-emissionDelay, c.bulkCreated(c.o.Bulk)) // after all the bulk
}

// later returns the time of a change to an object: updated_at always rises.
func (c *Clerk) later(updatedAt int64) int64 { return max(c.at(), updatedAt+1) }

// CreateUser creates a user; ids and times in u are ignored.
func (c *Clerk) CreateUser(u User) User {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.createUser(u, c.at()).User
}

func (c *Clerk) createUser(u User, at int64) *user {
	if n := len(c.users); n > 0 {
		at = max(at, c.users[n-1].CreatedAt) // the order of creation is that of created_at
	}
	u.ID, u.CreatedAt, u.UpdatedAt = c.newID("user_", at), at, at
	created := &user{User: u, order: len(c.users)}
	c.users = append(c.users, created)
	c.emit("user.created", at, appendUser(nil, created, false))
	return created
}

// UpdateUser changes a user, except for its id and times, which Clerk sets. A sign-in is
// such a change, of LastSignIn.
func (c *Clerk) UpdateUser(id string, change func(*User)) (User, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.findUser(id)
	if u == nil || u.order < 0 {
		return User{}, fmt.Errorf("user %s: %w", id, ErrNotFound)
	}
	was := u.User
	change(&u.User)
	u.ID, u.CreatedAt, u.UpdatedAt = was.ID, was.CreatedAt, c.later(was.UpdatedAt)
	c.emit("user.updated", u.UpdatedAt, appendUser(nil, u, false))
	return u.User, nil
}

// DeleteUser deletes a user and its memberships. The organizations that it created stay.
func (c *Clerk) DeleteUser(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	u := c.findUser(id)
	if u == nil || u.order < 0 {
		return fmt.Errorf("user %s: %w", id, ErrNotFound)
	}
	at := c.later(u.UpdatedAt)
	u.deleted = true
	c.emit("user.deleted", at, appendDeleted(nil, "user", id, u.ExternalID, ""))
	c.removeMemberships(at, func(m *membership) bool { return m.user == u }, c.o.CascadeEvents)
	return nil
}

// CreateOrganization creates an organization; its id and times are ignored. The user of
// CreatedBy, when there is one, becomes its first member, with the role org:admin.
func (c *Clerk) CreateOrganization(o Organization) (Organization, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var creator *user
	if o.CreatedBy != "" {
		if creator = c.findUser(o.CreatedBy); creator == nil {
			return Organization{}, fmt.Errorf("user %s: %w", o.CreatedBy, ErrNotFound)
		}
	}
	return c.createOrganization(o, creator, c.at()).Organization, nil
}

func (c *Clerk) createOrganization(o Organization, creator *user, at int64) *organization {
	o.ID, o.CreatedAt, o.UpdatedAt = c.newID("org_", at), at, at
	if creator != nil {
		o.CreatedBy = creator.ID
	}
	created := &organization{Organization: o}
	c.orgs = append(c.orgs, created)
	c.emit("organization.created", at, appendOrganization(nil, created, organizationEvent))
	if creator != nil {
		c.join(creator, created, "org:admin", at)
	}
	return created
}

// UpdateOrganization changes the name or the slug of an organization.
func (c *Clerk) UpdateOrganization(id string, change func(*Organization)) (Organization, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.findOrganization(id)
	if o == nil {
		return Organization{}, fmt.Errorf("organization %s: %w", id, ErrNotFound)
	}
	was := o.Organization
	change(&o.Organization)
	o.ID, o.CreatedBy, o.CreatedAt, o.UpdatedAt = was.ID, was.CreatedBy, was.CreatedAt, c.later(was.UpdatedAt)
	c.emit("organization.updated", o.UpdatedAt, appendOrganization(nil, o, organizationEvent))
	return o.Organization, nil
}

// DeleteOrganization deletes an organization and its memberships.
func (c *Clerk) DeleteOrganization(id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.findOrganization(id)
	if o == nil {
		return fmt.Errorf("organization %s: %w", id, ErrNotFound)
	}
	at := c.later(o.UpdatedAt)
	c.orgs = slices.DeleteFunc(c.orgs, func(other *organization) bool { return other == o })
	c.emit("organization.deleted", at, appendDeleted(nil, "organization", id, "", o.Slug))
	c.removeMemberships(at, func(m *membership) bool { return m.org == o }, c.o.CascadeEvents)
	return nil
}

// Join makes a user a member of an organization. A user that comes back gets a membership
// with another id.
func (c *Clerk) Join(userID, orgID, role string) (Membership, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, o := c.findUser(userID), c.findOrganization(orgID)
	if u == nil || o == nil {
		return Membership{}, fmt.Errorf("user %s, organization %s: %w", userID, orgID, ErrNotFound)
	}
	if c.isMember(u, o) {
		return Membership{}, fmt.Errorf("user %s is a member of %s", userID, orgID)
	}
	return c.join(u, o, role, c.at()).Membership, nil
}

func (c *Clerk) isMember(u *user, o *organization) bool {
	return slices.ContainsFunc(c.memberships, func(m *membership) bool { return m.user.ID == u.ID && m.org == o })
}

func (c *Clerk) join(u *user, o *organization, role string, at int64) *membership {
	m := &membership{Membership{c.newID("orgmem_", at), u.ID, o.ID, role, at, at}, u, o}
	c.memberships = append(c.memberships, m)
	o.members++
	c.emit("organizationMembership.created", at, appendMembership(nil, m, false))
	return m
}

// SetRole changes the role of a membership.
func (c *Clerk) SetRole(membershipID, role string) (Membership, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.findMembership(membershipID)
	if m == nil {
		return Membership{}, fmt.Errorf("membership %s: %w", membershipID, ErrNotFound)
	}
	m.Role, m.UpdatedAt = role, c.later(m.UpdatedAt)
	c.emit("organizationMembership.updated", m.UpdatedAt, appendMembership(nil, m, false))
	return m.Membership, nil
}

// Leave ends a membership. Its event has the updated_at of the last change before.
func (c *Clerk) Leave(membershipID string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.findMembership(membershipID)
	if m == nil {
		return fmt.Errorf("membership %s: %w", membershipID, ErrNotFound)
	}
	c.removeMemberships(c.later(m.UpdatedAt), func(other *membership) bool { return other == m }, true)
	return nil
}

func (c *Clerk) removeMemberships(at int64, of func(*membership) bool, emit bool) {
	c.memberships = slices.DeleteFunc(c.memberships, func(m *membership) bool {
		if !of(m) {
			return false
		}
		m.org.members--
		if emit {
			c.emit("organizationMembership.deleted", at, appendMembership(nil, m, false))
		}
		return true
	})
}

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
