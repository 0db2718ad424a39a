package directory

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/token"
)

// The parameters.
const (
	paramLimit    = "limit"
	paramCursor   = "cursor"
	paramRole     = "role" // may be repeated: any of them
	paramSearch   = "search"
	paramAudience = "audience"
	paramOrg      = "org"
)

const (
	maxRoles    = 10
	maxSearch   = 100 // characters
	maxAudience = 200
)

// parameters reads a query strictly: a parameter of /api/authorize with a typing error
// would let requests pass that it was meant to stop.
func parameters(query string, known []string) (url.Values, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, errInvalidParameter("query", "it is not encoded as a URL is")
	}
	for name, v := range values {
		switch {
		case len(known) == 0:
			return nil, errInvalidParameter(shown(name), "this path takes no parameters; leave it out")
		case !slices.Contains(known, name):
			return nil, errInvalidParameter(shown(name), "this path does not take it; it takes "+strings.Join(known, ", "))
		case len(v) > 1 && name != paramRole:
			return nil, errInvalidParameter(name, "it is there more than once; send one")
		}
	}
	return values, nil
}

// shown returns the name of an unknown parameter, if an answer may quote it.
func shown(name string) string {
	if len(name) > 32 || !clerk.ValidToken(name) {
		return "query"
	}
	return name
}

// selection reads the parameters of a list of members.
func (r *request) selection() (store.Members, error) {
	s := store.Members{Most: defaultLimit, Search: r.params.Get(paramSearch)}
	if r.params.Has(paramLimit) {
		n, err := strconv.Atoi(r.params.Get(paramLimit))
		if err != nil || n < 1 || n > maxLimit {
			return s, errInvalidParameter(paramLimit, "must be a number from 1 to "+strconv.Itoa(maxLimit))
		}
		s.Most = n
	}
	if r.params.Has(paramCursor) {
		var err error
		if s.After, err = decodeCursor(r.params.Get(paramCursor)); err != nil {
			return s, errInvalidParameter(paramCursor, "it is not next_cursor of an answer; leave it out to begin with the first page")
		}
	}
	if !utf8.ValidString(s.Search) || utf8.RuneCountInString(s.Search) > maxSearch || strings.ContainsRune(s.Search, 0) {
		return s, errInvalidParameter(paramSearch, "it is a part of a name or of an e-mail address, of up to "+strconv.Itoa(maxSearch)+" characters")
	}
	if slices.Equal(r.params[paramRole], []string{""}) { // of an empty field, as an empty search; a gateway's is refused
		delete(r.params, paramRole)
	}
	roles, err := r.roles()
	for _, role := range roles {
		// Old events have roles without the prefix.
		s.Roles = append(s.Roles, role, strings.TrimPrefix(role, "org:"))
	}
	return s, err
}

// roles reads the roles, as [token.NormalRole] writes them.
func (r *request) roles() ([]string, error) {
	given := r.params[paramRole]
	if len(given) > maxRoles {
		return nil, errInvalidParameter(paramRole, "it is there more than "+strconv.Itoa(maxRoles)+" times")
	}
	var roles []string
	for _, role := range given {
		role = token.NormalRole(role)
		if _, key, found := strings.Cut(role, ":"); !found || !clerk.ValidToken(key) {
			return nil, errInvalidParameter(paramRole, "it is the key of a role, such as org:admin")
		}
		roles = append(roles, role)
	}
	return roles, nil
}

// authorization is what a gateway wants to know.
type authorization struct {
	audience string   // "": a session token is meant
	org      bool     // an organization has to be selected
	roles    []string // the user has to have one of them; none: any
}

// authorization reads the parameters of a gateway.
func (r *request) authorization() (a authorization, err error) {
	if r.params.Has(paramAudience) {
		a.audience = r.params.Get(paramAudience)
		if a.audience == "" || len(a.audience) > maxAudience || !utf8.ValidString(a.audience) {
			return a, errInvalidParameter(paramAudience, "it is the audience of a JWT template; leave it out for session tokens")
		}
	}
	if a.roles, err = r.roles(); err != nil {
		return a, err
	}
	if r.params.Has(paramOrg) && r.params.Get(paramOrg) != "required" {
		return a, errInvalidParameter(paramOrg, "the only value is required; leave the parameter out where no organization is needed")
	}
	a.org = r.params.Has(paramOrg) || len(a.roles) > 0
	return a, nil
}
