package token

import (
	"net/http"
	"strings"
)

// cookie is where Clerk keeps the session token in a browser, for requests to the
// application's own origin.
const cookie = "__session"

// find returns the token of a request: of the header Authorization, or else of the
// cookie __session. "" means that there is none.
func find(r *http.Request) (raw string, inCookie bool) {
	scheme, raw, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(raw), false
	}
	if c, err := r.Cookie(cookie); err == nil {
		return c.Value, true
	}
	return "", false
}
