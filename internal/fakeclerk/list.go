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
	paging                 = []string{"limit", "offset", "order_by"}
	userFilters            = []string{"user_id", "created_at_before", "created_at_after"}
	userParameters         = slices.Concat(paging, userFilters, []string{"starting_after"})
	organizationParameters = slices.Concat(paging, []string{"organization_id", "include_members_count"})
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

// created returns the bounds of the time of creation, both of which are left out.
func (q query) created() (after, before int64, failure *apiError) {
	after, before = -1<<63, 1<<63-1
	for parameter, into := range map[string]*int64{"created_at_after": &after, "created_at_before": &before} {
		text := q.values.Get(parameter)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, 0, unprocessable("form_param_value_invalid", parameter+" must be a time in Unix milliseconds")
		}
		*into = n
	}
	return after, before, nil
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
	after, before, failure := q.created()
	if failure != nil {
		return nil, failure
	}
	v.some = slices.DeleteFunc(v.some, func(u *user) bool { return u.CreatedAt <= after || u.CreatedAt >= before })
	if v.bulk() > 0 {
		v.bulkFrom = c.bulkAfter(after)
		v.bulkTo = max(v.bulkFrom, c.bulkAfter(before-1))
	}
	switch q.orderBy {
	case "created_at":
	case "updated_at": // the bulk is before all others by it, too
		slices.SortStableFunc(v.some, func(a, b *user) int { return cmp.Compare(a.UpdatedAt, b.UpdatedAt) })
	default:
		return nil, unordered(q)
	}
	return v, nil
}

// unordered refuses an order that Clerk does not have, or that nothing here asks for.
func unordered(q query) *apiError {
	return unprocessable("form_param_value_invalid", "order_by "+q.orderBy+" is not an order of this list, or not one that this fake of Clerk has")
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
	return oldestFirst(all, q, func(o *organization) int64 { return o.CreatedAt })
}

func (c *Clerk) selectMemberships(q query, of func(*membership) bool) ([]*membership, *apiError) {
	all := slices.DeleteFunc(slices.Clone(c.memberships), func(m *membership) bool { return !of(m) })
	return oldestFirst(all, q, func(m *membership) int64 { return m.CreatedAt })
}

// oldestFirst puts a list into the order of creation, or into the reverse.
func oldestFirst[T any](all []*T, q query, created func(*T) int64) ([]*T, *apiError) {
	if q.orderBy != "created_at" {
		return nil, unordered(q)
	}
	slices.SortStableFunc(all, func(a, b *T) int { return cmp.Compare(created(a), created(b)) })
	if q.descending {
		slices.Reverse(all)
	}
	return all, nil
}
