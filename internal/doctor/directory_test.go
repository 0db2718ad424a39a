package doctor

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/testkit"
)

func TestSessionTokens(t *testing.T) {
	t.Parallel()
	issuer := testkit.NewTokenIssuer(t)
	keys := http.NewServeMux()
	keys.Handle("/.well-known/jwks.json", issuer.JWKS)
	clerk := httptest.NewServer(keys)
	t.Cleanup(clerk.Close)
	parties := []string{"https://app.example.com"}
	for name, tc := range map[string]struct {
		tokens config.Tokens
		want   Check
	}{
		"nothing set": {config.Tokens{}, Check{
			"session_tokens", Failed, "there is nothing to verify them with",
			"set CLERK_JWT_KEY, CLERK_FRONTEND_API_URL or CLERK_PUBLISHABLE_KEY (Clerk dashboard → API keys)",
		}},
		"a key that is none": {config.Tokens{JWTKey: "/etc/key.pem"}, Check{Name: "session_tokens", Status: Failed}},
		"any party": {config.Tokens{JWTKey: issuer.PEM}, Check{
			"session_tokens", Warning, "there are keys to verify them; those that Clerk made for any of your applications are taken",
			"set CLERK_AUTHORIZED_PARTIES to the origins that call the API",
		}},
		"a key":   {config.Tokens{JWTKey: issuer.PEM, AuthorizedParties: parties}, Check{"session_tokens", OK, "there are keys to verify them", ""}},
		"Clerk's": {config.Tokens{FrontendAPIURL: clerk.URL, AuthorizedParties: parties}, Check{"session_tokens", OK, "there are keys to verify them", ""}},
		"not Clerk's": {config.Tokens{FrontendAPIURL: clerk.URL + "/another", AuthorizedParties: parties}, Check{
			"session_tokens", Failed, "the keys of Clerk could not be fetched from " + clerk.URL + "/another/.well-known/jwks.json: the answer is 404; " +
				"is the issuer the Frontend API URL of the instance (Clerk dashboard → API keys)?",
			"correct CLERK_FRONTEND_API_URL, let this machine reach it, or set CLERK_JWT_KEY (Clerk dashboard → API keys)",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &Report{}
			checkTokens(r, tc.tokens)
			require.Len(t, r.Checks, 1)
			got := r.Checks[0]
			if tc.want.Seen == "" { // the text is of another package
				got.Seen, got.Fix = "", ""
			}
			require.Equal(t, tc.want, got)
		})
	}
}
