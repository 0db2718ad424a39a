package fakeclerk

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// state is an instance as [Clerk.Save] writes it: without the traps, and without the
// deleted users, whose ids are no cursors any more.
type state struct {
	InstanceID    string         `json:"instance_id"`
	SecretKey     string         `json:"secret_key"`
	IDs           uint64         `json:"ids"` // made so far
	People        int            `json:"people"`
	Users         []User         `json:"users"`
	Organizations []Organization `json:"organizations"`
	Memberships   []Membership   `json:"memberships"`
}

// Save returns the instance as JSON, with its key, for [Restore].
func (c *Clerk) Save() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := state{InstanceID: c.o.InstanceID, SecretKey: c.o.SecretKey, IDs: c.ids, People: c.people}
	for _, u := range c.liveUsers() {
		s.Users = append(s.Users, u.User)
	}
	for _, o := range c.orgs {
		s.Organizations = append(s.Organizations, o.Organization)
	}
	for _, m := range c.memberships {
		s.Memberships = append(s.Memberships, m.Membership)
	}
	saved, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and numbers can always be written
	}
	return saved
}

// Restore returns an instance that goes on where [Clerk.Save] was called. Its id and its
// key are those that were saved, unless the options name others.
func Restore(o Options, saved []byte) (*Clerk, error) {
	var s state
	if err := json.Unmarshal(saved, &s); err != nil {
		return nil, fmt.Errorf("read saved instance: %w", err)
	}
	o.InstanceID, o.SecretKey = cmp.Or(o.InstanceID, s.InstanceID), cmp.Or(o.SecretKey, s.SecretKey)
	c := New(o)
	c.ids, c.people, c.rng = s.IDs, s.People, rand.New(rand.NewPCG(o.Seed, s.IDs))
	for i, u := range s.Users {
		c.users = append(c.users, &user{User: u, order: i})
	}
	for _, o := range s.Organizations {
		c.orgs = append(c.orgs, &organization{Organization: o})
	}
	for _, m := range s.Memberships {
		u, o := c.findUser(m.UserID), c.findOrganization(m.OrgID)
		if u == nil || o == nil {
			return nil, fmt.Errorf("read saved instance: membership %s has no user or no organization", m.ID)
		}
		o.members++
		c.memberships = append(c.memberships, &membership{m, u, o})
	}
	return c, nil
}
