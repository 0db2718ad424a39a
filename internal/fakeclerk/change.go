package fakeclerk

import (
	"fmt"
	"slices"
)

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
