package fakeclerk

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Limits of a page, and of the ids in a filter.
const (
	defaultLimit = 10
	maxLimit     = 500
	maxIDs       = 100
)

// The parameters of the lists. A parameter that this package does not know is refused
// instead of ignored: a test should not rest on a filter that filters nothing.
var (
	paging      = []string{"limit", "offset", "order_by", "__clerk_api_version"}
	userFilters = []string{
		"user_id", "created_at_before", "created_at_after", "last_active_at_before", "last_active_at_after",
		"last_sign_in_at_before", "last_sign_in_at_after", "__clerk_api_version",
	}
	userParameters         = slices.Concat(paging, userFilters, []string{"starting_after"})
	organizationParameters = slices.Concat(paging, []string{"organization_id", "include_members_count"})
	membershipParameters   = slices.Concat(paging, []string{"user_id"})
)

// query has the parameters of a list.
type query struct {
	values        url.Values
	limit, offset int
	orderBy       string // without its sign
	descending    bool
}

func parseQuery(r *http.Request, known []string) (query, *apiError) {
	q := query{values: r.URL.Query(), limit: defaultLimit, orderBy: "created_at", descending: true}
	for name := range q.values {
		if !slices.Contains(known, name) {
			return q, unprocessable("form_param_unknown", name+" is not a parameter of this request, or not one that this fake of Clerk has")
		}
	}
	if text := q.values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		switch {
		case err != nil || n < 1:
			return q, unprocessable("form_param_value_invalid", "limit must be a number from 1 to 500")
		case n <= maxLimit: // a greater one is ignored without a word
			q.limit = n
		}
	}
	if text := q.values.Get("offset"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return q, unprocessable("form_param_value_invalid", "offset must be a number from 0 on")
		}
		q.offset = n
	}
	if text := q.values.Get("order_by"); text != "" {
		// A plus that was not escaped has become a space.
		q.orderBy, q.descending = strings.TrimLeft(text, "+- "), text[0] == '-'
	}
	return q, nil
}

// idsIn returns the ids of a filter, ok when it is there.
func (q query) idsIn(name string) (ids []string, ok bool, failure *apiError) {
	ids, ok = q.values[name]
	if len(ids) > maxIDs {
		return nil, ok, unprocessable("form_param_value_invalid", name+" has more than 100 values")
	}
	for i, id := range ids {
		if strings.HasPrefix(id, "-") {
			return nil, ok, unprocessable("form_param_value_invalid", name+": this fake of Clerk cannot exclude ids")
		}
		ids[i] = strings.TrimLeft(id, "+ ")
	}
	return ids, ok, nil
}

// between returns the bounds of a filter by time, both of which are left out.
func (q query) between(name string) (after, before int64, ok bool, failure *apiError) {
	after, before = -1<<63, 1<<63-1
	for parameter, into := range map[string]*int64{name + "_after": &after, name + "_before": &before} {
		text := q.values.Get(parameter)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, 0, false, unprocessable("form_param_value_invalid", parameter+" must be a time in Unix milliseconds")
		}
		*into, ok = n, true
	}
	return after, before, ok, nil
}

// userView has the users that a request selects, in the order of a list: first those of
// Options.Bulk with an index in [bulkFrom, bulkTo), then some.
type userView struct {
	c                *Clerk
	bulkFrom, bulkTo int
	some             []*user
	descending       bool
}

func (v *userView) bulk() int { return v.bulkTo - v.bulkFrom }
func (v *userView) len() int  { return v.bulk() + len(v.some) }

func (v *userView) at(i int) *user {
	if v.descending {
		i = v.len() - 1 - i
	}
	if i < v.bulk() {
		return v.c.bulkUser(v.bulkFrom + i)
	}
	return v.some[i-v.bulk()]
}

// userKeys are the orders of users, besides that of creation. All phone numbers and
// wallets are missing here, hence equal.
var userKeys = map[string]func(a, b *user) int{
	"updated_at":      func(a, b *user) int { return cmp.Compare(a.UpdatedAt, b.UpdatedAt) },
	"email_address":   func(a, b *user) int { return cmp.Compare(a.Email, b.Email) },
	"first_name":      func(a, b *user) int { return cmp.Compare(a.FirstName, b.FirstName) },
	"last_name":       func(a, b *user) int { return cmp.Compare(a.LastName, b.LastName) },
	"username":        func(a, b *user) int { return cmp.Compare(a.Username, b.Username) },
	"last_active_at":  func(a, b *user) int { return cmp.Compare(a.lastActive(), b.lastActive()) },
	"last_sign_in_at": func(a, b *user) int { return cmp.Compare(a.LastSignIn, b.LastSignIn) },
	"phone_number":    func(a, b *user) int { return 0 },
	"web3wallet":      func(a, b *user) int { return 0 },
}

// selectUsers applies the filters and the order of a request.
func (c *Clerk) selectUsers(q query) (*userView, *apiError) {
	v := &userView{c: c, bulkTo: c.o.Bulk, some: c.liveUsers(), descending: q.descending}
	ids, filtered, failure := q.idsIn("user_id")
	if failure != nil {
		return nil, failure
	}
	if filtered { // unknown ids are left out
		v.bulkTo, v.some = 0, nil
		for _, id := range ids {
			if u := c.findUser(id); u != nil && !slices.ContainsFunc(v.some, func(other *user) bool { return other.ID == u.ID }) {
				v.some = append(v.some, u)
			}
		}
		slices.SortFunc(v.some, func(a, b *user) int { return cmp.Compare(a.order, b.order) })
	}
	for _, filter := range []struct {
		name string
		time func(*user) int64
	}{
		{"created_at", func(u *user) int64 { return u.CreatedAt }},
		{"last_active_at", func(u *user) int64 { return u.lastActive() }},
		{"last_sign_in_at", func(u *user) int64 { return u.LastSignIn }},
	} {
		after, before, ok, failure := q.between(filter.name)
		switch {
		case failure != nil:
			return nil, failure
		case !ok:
			continue
		case filter.name != "created_at":
			c.materialize(v)
		}
		v.some = slices.DeleteFunc(v.some, func(u *user) bool {
			at := filter.time(u)
			return at <= after || at >= before || at == 0
		})
		if v.bulk() > 0 {
			v.bulkFrom = c.bulkAfter(after)
			v.bulkTo = max(v.bulkFrom, c.bulkAfter(before-1))
		}
	}
	if q.orderBy == "created_at" {
		return v, nil
	}
	compare, ok := userKeys[q.orderBy]
	if !ok {
		return nil, unprocessable("form_param_value_invalid", "users cannot be ordered by "+q.orderBy)
	}
	if q.orderBy != "updated_at" { // by which the bulk is ordered, and before all others
		c.materialize(v)
	}
	slices.SortStableFunc(v.some, compare)
	return v, nil
}

// materialize makes all users of the bulk in a view, which takes its time.
func (c *Clerk) materialize(v *userView) {
	bulk := make([]*user, 0, v.len())
	for i := v.bulkFrom; i < v.bulkTo; i++ {
		bulk = append(bulk, c.bulkUser(i))
	}
	v.bulkFrom, v.bulkTo, v.some = 0, 0, append(bulk, v.some...)
}

// userPage returns the part of a view that is the page of a request.
func (c *Clerk) userPage(q query, v *userView) (from, to int, failure *apiError) {
	from = q.offset
	if cursor := q.values.Get("starting_after"); cursor != "" {
		switch {
		case q.orderBy != "created_at":
			return 0, 0, unprocessable("form_param_value_invalid", "starting_after requires ordering by created_at")
		case q.offset != 0:
			return 0, 0, unprocessable("form_param_value_invalid", "starting_after cannot be combined with offset")
		}
		u := c.everUser(cursor)
		if u == nil || u.deleted && c.traps.ForgetCursor {
			return 0, 0, notFound
		}
		// How many users of the view were created before u, and how many up to and with u.
		before := sort.Search(len(v.some), func(i int) bool { return v.some[i].order >= u.order })
		upTo := before
		if upTo < len(v.some) && v.some[upTo].order == u.order {
			upTo++
		}
		if u.order < 0 {
			i := c.o.Bulk + u.order
			before, upTo = before+min(max(i-v.bulkFrom, 0), v.bulk()), upTo+min(max(i+1-v.bulkFrom, 0), v.bulk())
		} else {
			before, upTo = before+v.bulk(), upTo+v.bulk()
		}
		if from = upTo; q.descending {
			from = v.len() - before
		}
	}
	from = min(from, v.len())
	return from, min(from+q.limit, v.len()), nil
}

func (c *Clerk) selectOrganizations(q query) ([]*organization, *apiError) {
	ids, filtered, failure := q.idsIn("organization_id")
	if failure != nil {
		return nil, failure
	}
	all := slices.Clone(c.orgs)
	if filtered {
		all = slices.DeleteFunc(all, func(o *organization) bool { return !slices.Contains(ids, o.ID) })
	}
	return ordered(all, q, map[string]func(a, b *organization) int{
		"created_at":    func(a, b *organization) int { return cmp.Compare(a.CreatedAt, b.CreatedAt) },
		"name":          func(a, b *organization) int { return cmp.Compare(a.Name, b.Name) },
		"members_count": func(a, b *organization) int { return cmp.Compare(a.members, b.members) },
	})
}

func (c *Clerk) selectMemberships(q query, of func(*membership) bool) ([]*membership, *apiError) {
	ids, filtered, failure := q.idsIn("user_id")
	if failure != nil {
		return nil, failure
	}
	all := slices.DeleteFunc(slices.Clone(c.memberships), func(m *membership) bool {
		return !of(m) || filtered && !slices.Contains(ids, m.UserID)
	})
	keys := map[string]func(a, b *membership) int{
		"created_at": func(a, b *membership) int { return cmp.Compare(a.CreatedAt, b.CreatedAt) },
	}
	for _, name := range []string{"phone_number", "email_address", "first_name", "last_name", "username"} {
		keys[name] = func(a, b *membership) int { return userKeys[name](a.user, b.user) }
	}
	return ordered(all, q, keys)
}

// ordered puts a list into the order of a request.
func ordered[T any](all []*T, q query, keys map[string]func(a, b *T) int) ([]*T, *apiError) {
	compare, ok := keys[q.orderBy]
	if !ok {
		return nil, unprocessable("form_param_value_invalid", "this list cannot be ordered by "+q.orderBy)
	}
	slices.SortStableFunc(all, compare)
	if q.descending {
		slices.Reverse(all)
	}
	return all, nil
}
