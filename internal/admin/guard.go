package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// policy allows the files that come with the program: no inline script or style, nothing
// from another host.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secure sets the headers of every answer.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// Access says which paths are open without a token. Health always is.
type Access int

// The accesses. Each includes those before it.
const (
	HealthOnly Access = iota // everything else needs the token
	Readings                 // /lag and /metrics, for a scraper on this machine
	Everything               // also the page with its actions: a developer's own machine
)

const (
	badHost   = "this listener is on the loopback, and was requested by another name: open it as http://localhost with its port, or set CLERKSYNC_ADMIN_TOKEN"
	badOrigin = "this was asked for by a page of another origin: open the dashboard itself"
	noAction  = "this action has no valid token: reload the dashboard, and try again"
)

// The reasons for refusing a request.
var (
	errNoToken     = errors.New("this needs a token, and there is none to log in with: set CLERKSYNC_ADMIN_TOKEN (openssl rand -hex 24 makes one), and restart clerksync")
	errNotLoggedIn = errors.New("the token is missing or wrong, or the session has ended: log in with CLERKSYNC_ADMIN_TOKEN, or by the link of clerksync dashboard")
	errWrong       = errors.New("the token is wrong: it is CLERKSYNC_ADMIN_TOKEN")
	errUsed        = errors.New("this link was used before, or is older than 5 minutes: clerksync dashboard prints a new one")
	errTooMany     = errors.New("too many wrong tokens: wait a little, and try again")
)

// checkHost refuses other names than the loopback's where something needs no token: by
// DNS rebinding, a page of another site could point its own name at this machine and be
// of the same origin.
func (h *Handler) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.o.Open > HealthOnly && !isLoopback(r.Host) && !healthPaths[r.URL.Path] {
			refuse(w, http.StatusForbidden, badHost)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// crossOrigin refuses state-changing requests from other origins.
func crossOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, badOrigin)
	}))
	return protection.Handler(next)
}

// authenticate returns the action token of an authenticated request. The error is
// [errNoToken], [errTooMany] or [errNotLoggedIn].
func (h *Handler) authenticate(r *http.Request) (action string, err error) {
	switch {
	case h.o.Open == Everything:
		return h.action, nil
	case h.o.Token == "":
		return "", errNoToken
	}
	if s := h.sessionOf(r); s != nil {
		return s.action, nil
	}
	if err := h.checkBearer(r); err != nil {
		return "", err
	}
	return h.action, nil
}

// checkBearer checks the token in the header of a request. The error is [errTooMany] or
// [errNotLoggedIn].
func (h *Handler) checkBearer(r *http.Request) error {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return errNotLoggedIn
	}
	err := h.check(r, token)
	if errors.Is(err, errWrong) {
		return errNotLoggedIn
	}
	return err
}

// deny answers a request that [Handler.authenticate] refused.
func deny(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errNoToken):
		refuse(w, http.StatusForbidden, err.Error())
	case errors.Is(err, errTooMany):
		w.Header().Set("Retry-After", retryAfter)
		refuse(w, http.StatusTooManyRequests, err.Error())
	default:
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, err.Error())
	}
}

// guard lets authenticated requests through, and all where the access is open.
func (h *Handler) guard(access Access, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
			refuse(w, http.StatusForbidden, badOrigin) // no other site needs to fetch data or hold a stream
			return
		}
		if h.o.Open < access {
			if _, err := h.authenticate(r); err != nil {
				deny(w, err)
				return
			}
		}
		next(w, r)
	}
}

// requireLogin guards the page's data and actions.
func (h *Handler) requireLogin(next http.HandlerFunc) http.HandlerFunc {
	return h.guard(Everything, next)
}

// actionHeader carries the action token, which only a script of this page knows.
const actionHeader = "Clerksync-Action"

// requireAction lets authenticated requests with an action token through.
func (h *Handler) requireAction(next http.HandlerFunc) http.HandlerFunc {
	return h.requireLogin(func(w http.ResponseWriter, r *http.Request) {
		if action, err := h.authenticate(r); err != nil || !equal(r.Header.Get(actionHeader), action) {
			refuse(w, http.StatusForbidden, noAction)
			return
		}
		next(w, r)
	})
}

// equal compares hashes in constant time, which hides even the length.
func equal(given, want string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

const (
	// An address may send guessBurst wrong tokens, and one more every guessInterval.
	guessBurst    = 10
	guessInterval = 3 * time.Second

	// retryAfter is guessInterval, for a header.
	retryAfter = "3"

	// maxGuessers bounds the addresses in memory.
	maxGuessers = 1024
)

// guesses limits wrong tokens and login codes per address. The limit does not make a
// guess harder, since a right token always passes, so that nobody can lock Prometheus or
// an operator out: the length of the token does. It keeps the answers to a flood short,
// and tells a client with an old token to wait.
type guesses struct {
	mu  sync.Mutex
	all map[string]*rate.Limiter
}

func (g *guesses) of(r *http.Request) *rate.Limiter {
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.all[address]
	if l == nil {
		if g.all == nil || len(g.all) >= maxGuessers {
			g.all = map[string]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Every(guessInterval), guessBurst)
		g.all[address] = l
	}
	return l
}

// check compares a token with the configured one. The error is [errWrong], or
// [errTooMany] after too many wrong ones from an address.
func (h *Handler) check(r *http.Request, token string) error {
	if equal(token, h.o.Token) {
		return nil
	}
	return h.wrong(r, errWrong)
}

// wrong counts a wrong token or code, and returns err, or [errTooMany] beyond the limit.
func (h *Handler) wrong(r *http.Request, err error) error {
	if !h.guesses.of(r).Allow() {
		return errTooMany
	}
	return err
}
