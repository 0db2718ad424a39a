package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	sessionCookie = "clerksync_session"
	sessionTime   = 12 * time.Hour
	maxSessions   = 100
)

// session is a logged-in browser.
type session struct {
	action string // action token
	ends   time.Time
}

// sessions are kept in memory, by the hash of the cookie's value: they end with the
// process.
type sessions struct {
	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

// begin creates a session and returns the value of its cookie. Beyond maxSessions the
// oldest ends.
func (s *sessions) begin() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[[sha256.Size]byte]*session{}
	}
	maps.DeleteFunc(s.all, func(_ [sha256.Size]byte, other *session) bool { return time.Now().After(other.ends) })
	if len(s.all) >= maxSessions {
		delete(s.all, slices.MinFunc(slices.Collect(maps.Keys(s.all)), func(a, b [sha256.Size]byte) int {
			return s.all[a].ends.Compare(s.all[b].ends)
		}))
	}
	value := rand.Text()
	s.all[sha256.Sum256([]byte(value))] = &session{action: rand.Text(), ends: time.Now().Add(sessionTime)}
	return value
}

func (s *sessions) get(value string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.all[sha256.Sum256([]byte(value))]
	if found == nil || time.Now().After(found.ends) {
		return nil
	}
	return found
}

func (s *sessions) end(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, sha256.Sum256([]byte(value)))
}

// sessionOf returns the session of a request, nil when it has none.
func (h *Handler) sessionOf(r *http.Request) *session {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	return h.sessions.get(cookie.Value)
}

func (h *Handler) loginPage(w http.ResponseWriter, r *http.Request) {
	switch _, err := h.authenticate(r); {
	case err == nil:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case errors.Is(err, errNoToken):
		refuse(w, http.StatusForbidden, err.Error())
	default:
		h.renderLogin(w, http.StatusOK, "")
	}
}

func (h *Handler) renderLogin(w http.ResponseWriter, status int, fault string) {
	// Under no-referrer, a browser sends "Origin: null" with a form. Over plain HTTP it
	// sends no Sec-Fetch-Site either, and the login would be refused as cross-origin.
	w.Header().Set("Referrer-Policy", "same-origin")
	h.render(w, status, "login.html", struct{ Fault string }{fault})
}

func (h *Handler) login(w http.ResponseWriter, r *http.Request) {
	if h.o.Token == "" {
		h.loginPage(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest, "this is no form with a token")
		return
	}
	switch err := h.check(r, r.PostForm.Get("token")); {
	case errors.Is(err, errTooMany):
		w.Header().Set("Retry-After", retryAfter)
		h.renderLogin(w, http.StatusTooManyRequests, err.Error())
		return
	case err != nil:
		h.renderLogin(w, http.StatusUnauthorized, err.Error())
		return
	}
	http.SetCookie(w, h.cookie(r, h.sessions.begin(), int(sessionTime.Seconds())))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(sessionCookie); err == nil {
		h.sessions.end(cookie.Value)
	}
	http.SetCookie(w, h.cookie(r, "", -1))
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}
