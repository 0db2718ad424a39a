package token

import "net/http"

// FromRequest returns the token that VerifyRequest verifies.
func FromRequest(r *http.Request) string {
	raw, _ := find(r)
	return raw
}
