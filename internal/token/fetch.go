package token

import "fmt"

// FetchKeys requests the keys of Clerk once, and keeps none: it is for a check. With a key
// of its own the verifier needs no request, and the error is nil.
func (v *Verifier) FetchKeys() error {
	if v.jwks == nil {
		return nil
	}
	if _, err := v.jwks.fetch(); err != nil {
		return fmt.Errorf("the keys of Clerk could not be fetched from %s: %w", v.jwks.url, err)
	}
	return nil
}
