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

const (
	codeTime = 5 * time.Minute
	maxCodes = 8
)

// codes log in once each: those of the links that were made and not yet used.
type codes struct {
	mu  sync.Mutex
	all []code // the oldest first
}

type code struct {
	value string
	ends  time.Time
}

// make returns a new code. Beyond maxCodes the oldest ends.
func (c *codes) make() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all[max(0, len(c.all)-maxCodes+1):], code{rand.Text(), time.Now().Add(codeTime)})
	return c.all[len(c.all)-1].value
}

// use ends a code, and reports whether it was valid.
func (c *codes) use(value string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.all, func(one code) bool { return equal(value, one.value) })
	if i < 0 {
		return false
	}
	valid := time.Now().Before(c.all[i].ends)
	c.all = slices.Delete(c.all, i, i+1)
	return valid
}

// makeLink makes a code for [Handler.linkPage]. It needs the token itself: a session must
// not outlive its end by a link.
func (h *Handler) makeLink(w http.ResponseWriter, r *http.Request) {
	err := errNoToken
	if h.o.Token != "" {
		err = h.checkBearer(r)
	}
	if err != nil {
		deny(w, err)
		return
	}
	h.answer(w, struct {
		Code string `json:"code"`
	}{h.codes.make()})
}

// linkPage is the page of a link that logs in once. The code is in the fragment of its
// URL, which no server, log or Referer gets. A script of the page posts it, so that
// fetching the page uses nothing up.
func (h *Handler) linkPage(w http.ResponseWriter, r *http.Request) {
	if h.o.Token == "" {
		h.loginPage(w, r)
		return
	}
	h.renderLogin(w, http.StatusOK, loginForm{Link: true})
}

func (h *Handler) loginPage(w http.ResponseWriter, r *http.Request) {
	switch _, err := h.authenticate(r); {
	case err == nil:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case errors.Is(err, errNotLoggedIn):
		h.renderLogin(w, http.StatusOK, loginForm{})
	default:
		deny(w, err)
	}
}

// loginForm is the data of the login page.
type loginForm struct {
	Fault string
	Link  bool // a script takes the code of a link from the URL and posts it
}

func (h *Handler) renderLogin(w http.ResponseWriter, status int, form loginForm) {
	// Under no-referrer, a browser sends "Origin: null" with a form. Over plain HTTP it
	// sends no Sec-Fetch-Site either, and the login would be refused as cross-origin.
	w.Header().Set("Referrer-Policy", "same-origin")
	h.render(w, status, "login.html", form)
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
	switch err := h.checkForm(r); {
	case errors.Is(err, errTooMany):
		w.Header().Set("Retry-After", retryAfter)
		h.renderLogin(w, http.StatusTooManyRequests, loginForm{Fault: err.Error()})
		return
	case err != nil:
		h.renderLogin(w, http.StatusUnauthorized, loginForm{Fault: err.Error()})
		return
	}
	http.SetCookie(w, h.cookie(r, h.sessions.begin(), int(sessionTime.Seconds())))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// checkForm checks the code or the token of a login. The error is [errUsed], [errWrong]
// or [errTooMany].
func (h *Handler) checkForm(r *http.Request) error {
	given := r.PostForm.Get("code")
	switch {
	case given == "":
		return h.check(r, r.PostForm.Get("token"))
	case h.codes.use(given):
		return nil
	}
	return h.wrong(r, errUsed)
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
