package fakeclerk

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// apiError is an error of the Backend API.
type apiError struct {
	status        int
	code, message string
}

// Codes and texts as in Clerk's answers. unprocessable is for the errors that its
// documentation gives no more than the status of.
var (
	headerInvalid  = &apiError{http.StatusUnauthorized, "authorization_header_format_invalid", "Invalid Authorization header format"}
	keyInvalid     = &apiError{http.StatusUnauthorized, "clerk_key_invalid", "The provided Clerk Secret Key is invalid. Make sure that your Clerk Secret Key is correct."}
	notFound       = &apiError{http.StatusNotFound, "resource_not_found", "not found"}
	svixAppMissing = &apiError{http.StatusBadRequest, "svix_app_missing", "No Svix apps are associated with the current instance."}
	tooMany        = &apiError{http.StatusTooManyRequests, "too_many_requests", "Too many requests. Please try again in a bit."}
	internal       = &apiError{http.StatusInternalServerError, "internal_clerk_error", "There was an internal error on our servers."}
)

func unprocessable(code, message string) *apiError {
	return &apiError{http.StatusUnprocessableEntity, code, message}
}

// answer reads the answer to a request, with the instance locked.
type answer func(*http.Request) ([]byte, *apiError)

func (c *Clerk) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, a := range map[string]answer{
		"GET /v1/users":                               c.getUsers,
		"GET /v1/users/count":                         c.getUsersCount,
		"GET /v1/users/{id}":                          c.getUser,
		"GET /v1/users/{id}/organization_memberships": c.getUserMemberships,
		"GET /v1/organizations":                       c.getOrganizations,
		"GET /v1/organizations/{id}":                  c.getOrganization,
		"GET /v1/organizations/{id}/memberships":      c.getOrganizationMemberships,
		"GET /v1/organization_memberships":            c.getMemberships,
		"GET /v1/instance":                            c.getInstance,
		"POST /v1/webhooks/svix_url":                  c.postSvixURL,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, a) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		c.serve(w, r, func(*http.Request) ([]byte, *apiError) { return nil, notFound })
	})
	return mux
}

// ServeHTTP answers as https://api.clerk.com does.
func (c *Clerk) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

func (c *Clerk) serve(w http.ResponseWriter, r *http.Request, read answer) {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch { // before anything else, even for paths that do not exist
	case !ok || key == "":
		headerInvalid.write(w)
		return
	case !c.isKey(key):
		keyInvalid.write(w)
		return
	}
	traps, wait := c.admit()
	if traps.Delay > 0 {
		select {
		case <-time.After(traps.Delay):
		case <-r.Context().Done():
			return
		}
	}
	if wait > 0 {
		tooMany.retry(w, wait)
		return
	}
	if traps.Unresolved {
		notFound.write(w)
		return
	}
	fault := NoFault
	if traps.Fault != nil {
		fault = traps.Fault(r)
	}
	switch fault {
	case TooMany:
		tooMany.retry(w, time.Second)
		return
	case InternalError:
		internal.write(w)
		return
	case BadGateway:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		w.Write([]byte("<html><body><h1>502 Bad Gateway</h1></body></html>"))
		return
	case Hang:
		<-r.Context().Done()
		return
	}

	if traps.BeforeRead != nil {
		traps.BeforeRead(r)
	}
	c.mu.Lock()
	body, failure := read(r)
	c.mu.Unlock()
	if traps.AfterRead != nil {
		traps.AfterRead(r)
	}
	if failure != nil {
		failure.write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	whole := len(body)
	switch fault {
	case Truncated:
		body = body[:whole/2]
	case Cut:
		w.Header().Set("Content-Length", strconv.Itoa(whole))
		w.Write(body[:whole/2])
		panic(http.ErrAbortHandler)
	}
	w.Write(body)
}

func (e *apiError) write(w http.ResponseWriter) {
	b := appendString([]byte(`{"errors":[{"code":`), e.code)
	b = appendString(append(b, `,"long_message":`...), e.message)
	b = appendString(append(b, `,"message":`...), e.message)
	b = append(b, "}]}"...)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	w.Write(b)
}

// retry writes the error with Retry-After in whole seconds.
func (e *apiError) retry(w http.ResponseWriter, after time.Duration) {
	w.Header().Set("Retry-After", strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
	e.write(w)
}

func (c *Clerk) getUsers(r *http.Request) ([]byte, *apiError) {
	q, failure := parseQuery(r, userParameters)
	if failure != nil {
		return nil, failure
	}
	view, failure := c.selectUsers(q)
	if failure != nil {
		return nil, failure
	}
	from, to, failure := c.userPage(q, view)
	if failure != nil {
		return nil, failure
	}
	b := append(make([]byte, 0, 2+(to-from)*1700), '[') // a bare array, and no total
	for i := from; i < to; i++ {
		if i > from {
			b = append(b, ',')
		}
		b = appendUser(b, view.at(i), true)
	}
	return append(b, ']'), nil
}

func (c *Clerk) getUsersCount(r *http.Request) ([]byte, *apiError) {
	q, failure := parseQuery(r, userFilters)
	if failure != nil {
		return nil, failure
	}
	view, failure := c.selectUsers(q)
	if failure != nil {
		return nil, failure
	}
	b := strconv.AppendInt([]byte(`{"object":"total_count","total_count":`), int64(view.len()), 10)
	return append(b, '}'), nil
}

func (c *Clerk) getUser(r *http.Request) ([]byte, *apiError) {
	u := c.findUser(r.PathValue("id"))
	if u == nil {
		return nil, notFound
	}
	return appendUser(nil, u, true), nil
}

func (c *Clerk) getOrganization(r *http.Request) ([]byte, *apiError) {
	name := r.PathValue("id") // or the slug
	o := find(c.orgs, func(o *organization) bool { return o.ID == name || o.Slug == name })
	if o == nil {
		return nil, notFound
	}
	return appendOrganization(nil, o, formOf(r)), nil
}

func formOf(r *http.Request) organizationForm {
	if r.URL.Query().Get("include_members_count") == "true" {
		return organizationCounted
	}
	return organizationPage
}

func (c *Clerk) getOrganizations(r *http.Request) ([]byte, *apiError) {
	q, failure := parseQuery(r, organizationParameters)
	if failure != nil {
		return nil, failure
	}
	orgs, failure := c.selectOrganizations(q)
	if failure != nil {
		return nil, failure
	}
	form := formOf(r)
	return appendList(orgs, q, func(b []byte, o *organization) []byte { return appendOrganization(b, o, form) }), nil
}

func (c *Clerk) getMemberships(r *http.Request) ([]byte, *apiError) {
	return c.listMemberships(r, func(*membership) bool { return true })
}

func (c *Clerk) getOrganizationMemberships(r *http.Request) ([]byte, *apiError) {
	o := c.findOrganization(r.PathValue("id"))
	if o == nil {
		return nil, notFound
	}
	return c.listMemberships(r, func(m *membership) bool { return m.org == o })
}

func (c *Clerk) getUserMemberships(r *http.Request) ([]byte, *apiError) {
	u := c.findUser(r.PathValue("id"))
	if u == nil {
		return nil, notFound
	}
	return c.listMemberships(r, func(m *membership) bool { return m.user.ID == u.ID })
}

func (c *Clerk) listMemberships(r *http.Request, of func(*membership) bool) ([]byte, *apiError) {
	q, failure := parseQuery(r, paging)
	if failure != nil {
		return nil, failure
	}
	memberships, failure := c.selectMemberships(q, of)
	if failure != nil {
		return nil, failure
	}
	return appendList(memberships, q, func(b []byte, m *membership) []byte { return appendMembership(b, m, true) }), nil
}

// appendList returns a page of a list, wrapped and with the total.
func appendList[T any](all []*T, q query, appendItem func([]byte, *T) []byte) []byte {
	b := []byte(`{"data":[`)
	from := min(q.offset, len(all))
	for i, x := range all[from:min(from+q.limit, len(all))] {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendItem(b, x)
	}
	b = strconv.AppendInt(append(b, `],"total_count":`...), int64(len(all)), 10)
	return append(b, '}')
}

func (c *Clerk) getInstance(*http.Request) ([]byte, *apiError) {
	environment := "development"
	if strings.HasPrefix(c.o.SecretKey, liveKey) {
		environment = "production"
	}
	b := appendString([]byte(`{"allowed_origins":null,"environment_type":`), environment)
	b = appendString(append(b, `,"id":`...), c.o.InstanceID)
	return append(b, `,"object":"instance","workspace_id":null}`...), nil
}

// postSvixURL returns a link that logs in once to the webhook page of the instance.
func (c *Clerk) postSvixURL(*http.Request) ([]byte, *apiError) {
	if c.traps.NoWebhooks {
		return nil, svixAppMissing
	}
	once := `{"appId":"app_` + c.o.InstanceID + `","oneTimeToken":"` + c.newID("", bulkEpoch) + `","region":"us"}`
	b := appendString([]byte(`{"svix_url":`), "https://app.svix.com/login#key="+base64.StdEncoding.EncodeToString([]byte(once)))
	return append(b, '}'), nil
}
