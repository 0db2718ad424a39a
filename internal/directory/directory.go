package directory

import (
	"context"
	_ "embed"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/token"
)

// requestTimeout bounds one request: a query, a pull, and the query again.
const requestTimeout = 6 * time.Second

// ReasonHeader carries the code of a problem. Gateways pass headers on where they drop the
// body of an answer.
const ReasonHeader = "Clerksync-Reason"

// Options configure a [Handler].
type Options struct {
	Verifier *token.Verifier
	Reader   *store.Reader
	Origins  []string // of web applications that may call from a browser

	// Pull fetches a user with its memberships from Clerk, as [source.Puller] does. nil:
	// whoever is not synced yet has to wait for the webhook.
	Pull func(ctx context.Context, userID string) error

	Registry prometheus.Registerer
	Logger   *slog.Logger
}

// Handler serves the directory API.
type Handler struct {
	o       Options
	limits  limits
	pulls   pulls
	metrics *instruments
	outage  streak
}

// New returns a handler.
func New(o Options) *Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Handler{o: o, metrics: newInstruments(o.Registry)}
	h.pulls = pulls{pull: o.Pull, total: h.metrics.pulls, logger: o.Logger}
	return h
}

// endpoint is a path of the API.
type endpoint struct {
	name   string   // label of the metrics
	params []string // that it takes
	serve  func(h *Handler, w http.ResponseWriter, r *request) error
}

// request is a request to an endpoint.
type request struct {
	*http.Request
	params url.Values
}

// endpoints are found by their exact path: nothing redirects an unclean one.
var endpoints = map[string]endpoint{
	"/api/public":               {"public", nil, (*Handler).public},
	"/api/profile":              {"profile", nil, (*Handler).profile},
	"/api/organization":         {"organization", nil, (*Handler).organization},
	"/api/organization/members": {"members", []string{paramLimit, paramCursor, paramRole, paramSearch}, (*Handler).members},
	"/api/authorize":            {"authorize", []string{paramAudience, paramOrg, paramRole}, (*Handler).authorize},
	openAPIPath:                 {"openapi", nil, (*Handler).openAPI},
}

// Serves reports whether a path is one of the API.
func Serves(path string) bool { _, ok := endpoints[path]; return ok }

// Prefix is what the paths of the API begin with, and those that somebody took for one.
const Prefix = "/api/"

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	e, ok := endpoints[r.URL.Path]
	if !ok {
		refuse(w, errNotFound)
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	code := codeOK
	if err := h.serve(w, r.WithContext(ctx), e); err != nil {
		p := problemOf(err)
		if code = p.Code; r.Context().Err() != nil {
			code = codeCanceled
		} else if p == errUnavailable {
			h.outage.begin(h.o.Logger, "the database cannot be read, requests are answered with 503", "cause", h.o.Reader.Outage(err), "err", err)
		}
		refuse(w, p)
	}
	h.metrics.requests.WithLabelValues(e.name, code).Inc()
	h.metrics.duration.WithLabelValues(e.name).Observe(time.Since(began).Seconds())
}

// protect sets the headers of every answer.
func protect(header http.Header) {
	header.Set("Cache-Control", "private, no-store")
	header.Set("X-Content-Type-Options", "nosniff")
}

// Off answers for a process without the API.
func Off(w http.ResponseWriter, _ *http.Request) { refuse(w, errOff) }

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, e endpoint) error {
	if preflight := h.allowOrigin(w.Header(), r); preflight {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		if isPreflight(r) {
			return errPreflight
		}
		return errMethod
	}
	params, err := parameters(r.URL.RawQuery, e.params)
	if err != nil {
		return err
	}
	return e.serve(h, w, &request{r, params})
}

// answer writes a value as JSON.
func answer(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
	return nil
}

// refuse writes a problem.
func refuse(w http.ResponseWriter, p *problem) {
	header := w.Header()
	protect(header)
	header.Set("Content-Type", "application/problem+json")
	header.Set(ReasonHeader, p.Code)
	if p.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(p.retryAfter.Seconds())))
	}
	if p.Status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", p.challenge())
	}
	body, _ := json.Marshal(p) // strings and a number
	w.WriteHeader(p.Status)
	w.Write(body)
}

// viewer verifies the token of a request. audience is as in [token.Verifier.Verify].
func (h *Handler) viewer(r *request, audience string) (store.Viewer, error) {
	claims, err := h.o.Verifier.VerifyRequest(r.Request, audience)
	if err != nil {
		return store.Viewer{}, err
	}
	if !h.limits.of(claims.UserID).Allow() {
		return store.Viewer{}, errRateLimited
	}
	v := store.Viewer{UserID: claims.UserID, Claims: claims.JSON}
	if claims.Org != nil {
		v.OrgID = claims.Org.ID
	}
	return v, nil
}

// member is [Handler.viewer] for a viewer that has to be in an organization.
func (h *Handler) member(r *request) (store.Viewer, error) {
	v, err := h.viewer(r, "")
	if err == nil && v.OrgID == "" {
		err = errOrgNotSelected
	}
	return v, err
}

// find runs a query on behalf of a viewer, with org of one in the active organization.
// When it finds nothing, the user is pulled from Clerk if there is no row yet, and the query
// runs again. Otherwise the error tells why.
func (h *Handler) find(ctx context.Context, v store.Viewer, org bool, query func(context.Context) (found bool, err error)) error {
	at := place{user: v.UserID}
	if org {
		at.org = v.OrgID
	}
	for pulled := false; ; pulled = true {
		found, err := query(ctx)
		if err != nil || found {
			if err == nil {
				h.outage.end(h.o.Logger, "the database can be read again")
			}
			return err
		}
		miss, err := h.o.Reader.Explain(ctx, v)
		switch {
		case err != nil:
			return err
		case miss.User == store.UserDeleted:
			return errUserDeleted
		case miss.User == store.UserBanned, miss.User == store.UserDeprovisioned:
			return errUserBanned
		case org && miss.Removed:
			return errNotAMember
		case pulled && org && miss.User == store.UserActive:
			h.pulls.remember(at, errNotAMember)
			return errNotAMember
		case pulled:
			return errNotSynced
		}
		if err := h.pulls.fetch(ctx, at); err != nil {
			return err
		}
	}
}

// public says that the service is there, and nothing more.
func (h *Handler) public(w http.ResponseWriter, _ *request) error {
	return answer(w, struct {
		Status string `json:"status"`
	}{"ok"})
}

const openAPIPath = "/api/openapi.json"

// openAPIDocument describes the API in OpenAPI 3.1.
//
//go:embed openapi.json
var openAPIDocument []byte

// openAPI serves the description of the API.
func (h *Handler) openAPI(w http.ResponseWriter, _ *request) error {
	w.Header().Set("Content-Type", "application/json")
	w.Write(openAPIDocument)
	return nil
}

// allowOrigin lets the browsers of the configured origins read the answer. It reports
// whether the request is a preflight, which is answered with that. Cookies are not allowed:
// another origin has to send the token in the header.
func (h *Handler) allowOrigin(header http.Header, r *http.Request) (preflight bool) {
	if len(h.o.Origins) == 0 {
		return false
	}
	header.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !slices.Contains(h.o.Origins, origin) {
		return false
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate, "+ReasonHeader)
	if !isPreflight(r) {
		return false
	}
	header.Set("Access-Control-Allow-Methods", "GET, HEAD")
	header.Set("Access-Control-Allow-Headers", "Authorization")
	header.Set("Access-Control-Max-Age", "600")
	return true
}

// isPreflight reports whether a browser asks if a page of another origin may send a request.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}
