package dashboard

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
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
	noToken   = "this listener is beyond the loopback: set CLERKSYNC_ADMIN_TOKEN to see more than health"
	badHost   = "this listener is on the loopback, and is asked for by another name: open it as http://localhost with its port, or set CLERKSYNC_ADMIN_TOKEN"
	badOrigin = "this was asked for by a page of another origin: open the dashboard itself"
	noAction  = "this action has no valid token: reload the dashboard, and try again"
	notLogged = "the token is missing or wrong, or the session has ended: log in with CLERKSYNC_ADMIN_TOKEN"
	tooMany   = "too many wrong tokens: wait a little, and try again"
)

// open tells whether everybody who can connect may look.
func (d *Dashboard) open() bool { return d.o.Local && d.o.Token == "" }

// checkHost refuses a request by a name that is not the loopback's, where no token
// is asked for: a page of another site can have its own name lead to this machine,
// and is of the same origin then.
func (d *Dashboard) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.open() && !isLoopback(r.Host) {
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

// authenticate returns the token that the actions of who asks have to carry, "" when
// they may see nothing.
func (d *Dashboard) authenticate(r *http.Request) string {
	if d.open() {
		return d.action
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok && d.check(token) == nil {
		return d.action
	}
	if s := d.sessionOf(r); s != nil {
		return s.action
	}
	return ""
}

// see lets those in who may look.
func (d *Dashboard) see(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch site := r.Header.Get("Sec-Fetch-Site"); {
		case site != "" && site != "same-origin" && site != "none": // nobody else's page needs to fetch this, or to hold a stream
			refuse(w, http.StatusForbidden, badOrigin)
		case d.authenticate(r) != "":
			next(w, r)
		case d.o.Token == "":
			refuse(w, http.StatusForbidden, noToken)
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, notLogged)
		}
	}
}

// actionHeader is what only a script of this page can send with a request.
const actionHeader = "Clerksync-Action"

// act lets those do something who may look, and whose page was made for them.
func (d *Dashboard) act(next http.HandlerFunc) http.HandlerFunc {
	return d.see(func(w http.ResponseWriter, r *http.Request) {
		if !equal(r.Header.Get(actionHeader), d.authenticate(r)) {
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
