package fakeclerk

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

var (
	firstNames = []string{
		"Ada", "Ben", "Chloe", "Dario", "Elif", "Femi", "Grace", "Hugo", "Ines", "Jonas", "Kaori", "Liam",
		"Mina", "Noor", "Oskar", "Priya", "Quinn", "Rosa", "Sven", "Tara", "Umar", "Vera", "Wei", "Yara",
	}
	lastNames = []string{
		"Abel", "Brandt", "Costa", "Dietz", "Eklund", "Farrow", "Garner", "Holm", "Ibsen", "Juric", "Keller", "Lindt",
		"Moreau", "Novak", "Okafor", "Petrov", "Quist", "Rossi", "Sato", "Torres", "Ueda", "Voss", "Weller", "Zimmer",
	}
	companies = []string{
		"Alder", "Birch", "Cedar", "Dune", "Ember", "Fjord", "Grove", "Harbor", "Islet", "Juniper", "Kelp", "Lagoon",
	}
	trades = []string{"Analytics", "Bakery", "Charter", "Design", "Energy", "Freight"}
)

func pickName(chance uint64) (first, last string) {
	return firstNames[chance%uint64(len(firstNames))], lastNames[chance>>32%uint64(len(lastNames))]
}

// Populate fills the instance with people and organizations, who came over the last 90
// days, and emits no events.
func (c *Clerk) Populate(people, organizations int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	emit := c.o.Emit
	c.o.Emit = func(Event) {}
	defer func() { c.o.Emit = emit }()
	const period = 90 * 24 * int64(time.Hour/time.Millisecond)
	start := c.at() - period
	for i := range people {
		at := start + int64(i)*period/int64(people)
		u := c.createUser(c.somebody(), at)
		if i*organizations/people < (i+1)*organizations/people {
			c.createOrganization(c.someCompany(), u, at)
		}
		for range c.rng.IntN(4) {
			if o := some(c.rng, c.orgs); o != nil && !c.isMember(u, o) {
				c.join(u, o, "org:member", at)
			}
		}
	}
	c.people = people
}

// Step makes one change of the kind that happens every day: mostly sign-ins and changes of
// a profile; now and then somebody comes, joins, leaves or is deleted. The number of
// people stays close to that of [Clerk.Populate].
func (c *Clerk) Step() {
	c.mu.Lock()
	chance, coin := c.rng.IntN(100), c.rng.IntN(2) == 0
	newcomer, company := c.somebody(), c.someCompany()
	users := c.liveUsers()
	var u User
	if found := some(c.rng, users); found != nil {
		u = found.User
	}
	var o Organization
	if found := some(c.rng, c.orgs); found != nil {
		o = found.Organization
	}
	var m Membership
	if found := some(c.rng, c.memberships); found != nil {
		m = found.Membership
	}
	many, few := len(users) > c.people*11/10, len(users) <= c.people*9/10
	c.mu.Unlock()

	// A change that is not possible, such as of an organization when there is none, is no
	// change.
	switch {
	case chance < 12 && (many || coin && !few):
		c.DeleteUser(u.ID)
	case chance < 12:
		c.Join(c.CreateUser(newcomer).ID, o.ID, "org:member")
	case chance < 45:
		c.UpdateUser(u.ID, func(u *User) { u.LastSignIn = c.at() })
	case chance < 55:
		c.UpdateUser(u.ID, func(u *User) { u.LastName = newcomer.LastName })
	case chance < 65:
		c.UpdateUser(u.ID, func(u *User) { u.Email = newcomer.Email })
	case chance < 79:
		c.Join(u.ID, o.ID, "org:member")
	case chance < 86 && m.Role == "org:member":
		c.SetRole(m.ID, "org:admin")
	case chance < 86:
		c.SetRole(m.ID, "org:member")
	case chance < 94:
		c.Leave(m.ID)
	default:
		c.UpdateOrganization(o.ID, func(o *Organization) { o.Name = company.Name })
	}
}

// somebody makes up a person whose address nobody else has.
func (c *Clerk) somebody() User {
	c.ids++
	first, last := pickName(c.rng.Uint64())
	return User{
		Email:     strings.ToLower(first+"."+last) + "." + strconv.FormatUint(c.ids, 10) + "@example.com",
		FirstName: first, LastName: last,
	}
}

func (c *Clerk) someCompany() Organization {
	c.ids++
	name := companies[c.rng.IntN(len(companies))] + " " + trades[c.rng.IntN(len(trades))]
	return Organization{Name: name, Slug: strings.ToLower(strings.ReplaceAll(name, " ", "-")) + "-" + strconv.FormatUint(c.ids, 10)}
}

// some picks one of a list, nil when it is empty.
func some[T any](rng *rand.Rand, all []*T) *T {
	if len(all) == 0 {
		return nil
	}
	return all[rng.IntN(len(all))]
}
