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

// policy lets the page have what comes with the program, and nothing else: no script
// or style within the page, and nothing of another host.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secure sets what every answer has, of whatever kind.
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

const (
	badHost   = "this listener is on the loopback, and is asked for by another name: open it as http://localhost with its port, or set CLERKSYNC_ADMIN_TOKEN"
	badOrigin = "this was asked for by a page of another origin: open the dashboard itself"
	noAction  = "this action has no valid token: reload the dashboard, and try again"
)

// Why a request is not let in.
var (
	errNoToken   = errors.New("this listener is beyond the loopback: set CLERKSYNC_ADMIN_TOKEN to see more than health")
	errNotLogged = errors.New("the token is missing or wrong, or the session has ended: log in with CLERKSYNC_ADMIN_TOKEN")
	errWrong     = errors.New("the token is wrong: it is CLERKSYNC_ADMIN_TOKEN")
	errTooMany   = errors.New("too many wrong tokens: wait a little, and try again")
)

// open tells whether everybody who can connect may look.
func (h *Handler) open() bool { return h.o.Local && h.o.Token == "" }

// checkHost refuses a request by a name that is not the loopback's, where no token
// is asked for: a page of another site can have its own name lead to this machine,
// and is of the same origin then.
func (h *Handler) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.open() && !isLoopback(r.Host) && !healthPaths[r.URL.Path] {
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

// crossOrigin refuses what another origin asks to be done.
func crossOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, badOrigin)
	}))
	return protection.Handler(next)
}

// authenticate returns the action token of a request that may see everything. The error
// is [errNoToken], [errTooMany] or [errNotLogged].
func (h *Handler) authenticate(r *http.Request) (action string, err error) {
	switch {
	case h.open():
		return h.action, nil
	case h.o.Token == "":
		return "", errNoToken
	}
	if s := h.sessionOf(r); s != nil {
		return s.action, nil
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		switch err := h.check(r, token); {
		case err == nil:
			return h.action, nil
		case errors.Is(err, errTooMany):
			return "", err
		}
	}
	return "", errNotLogged
}

// see lets authenticated requests through.
func (h *Handler) see(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
			refuse(w, http.StatusForbidden, badOrigin) // no other site needs to fetch this, or to hold a stream
			return
		}
		switch _, err := h.authenticate(r); {
		case err == nil:
			next(w, r)
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
}

// actionHeader is what only a script of this page can send with a request.
const actionHeader = "Clerksync-Action"

// act lets those do something who may look, and whose page was made for them.
func (h *Handler) act(next http.HandlerFunc) http.HandlerFunc {
	return h.see(func(w http.ResponseWriter, r *http.Request) {
		if action, err := h.authenticate(r); err != nil || !equal(r.Header.Get(actionHeader), action) {
			refuse(w, http.StatusForbidden, noAction)
			return
		}
		next(w, r)
	})
}

// equal compares hashes, so that the time it takes tells nothing, not even the length.
func equal(given, want string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

const (
	// guessBurst wrong tokens are compared at once, and one more every guessInterval.
	guessBurst    = 10
	guessInterval = 3 * time.Second

	// retryAfter is guessInterval, for a header.
	retryAfter = "3"

	// maxGuessers bounds the addresses that are remembered.
	maxGuessers = 1024
)

// guesses limits wrong tokens, for each address by itself: a flood from one does not
// keep Prometheus out.
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

// check compares a token with the configured one. After too many wrong ones from an
// address, no token of it is compared for a while. The error is [errWrong] or
// [errTooMany].
func (h *Handler) check(r *http.Request, token string) error {
	wrong := h.guesses.of(r)
	switch {
	case wrong.Tokens() < 1:
		return errTooMany
	case equal(token, h.o.Token):
		return nil
	case !wrong.Allow(): // others were wrong at the same moment
		return errTooMany
	}
	return errWrong
}
