//go:build examples

package examples

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
)

// Users of testdata/events: Ada is an admin of Acme Analytics, Ben one of Birch Labs.
const (
	ada = "user_2synth00000000000000000Ada1"
	ben = "user_2synth00000000000000000Ben1"
)

// publishableKey returns the key of an instance as Clerk makes it: it holds the host of
// the Frontend API. It is one of production, where no browser has to be introduced to Clerk.
func publishableKey(i *testkit.TokenIssuer) string {
	return "pk_live_" + base64.StdEncoding.EncodeToString([]byte(strings.TrimPrefix(i.Issuer, "https://")+"$"))
}

// clerkSettings are those of Clerk's packages, for tokens of an issuer. The secret key is
// needed to start, and for nothing else.
func clerkSettings(i *testkit.TokenIssuer) []string {
	return []string{
		"CLERK_JWT_KEY=" + i.PEM, "CLERK_AUTHORIZED_PARTIES=https://app.example,capacitor://localhost",
		"CLERK_SECRET_KEY=sk_live_of_the_tests",
	}
}

// signed returns a session token of a user whose claims are changed; nil removes a claim.
func signed(i *testkit.TokenIssuer, user string, changes map[string]any) string {
	claims := i.Claims(user)
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return i.Sign(claims)
}

// bearer returns the header of a mobile client.
func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// cookie returns the headers of a script in a browser: __client_uat is the time of the
// sign-in, without which Clerk's packages have the browser fetch a new token.
func cookie(token string) []string {
	return []string{"Cookie", "__session=" + token + "; __client_uat=1", "Sec-Fetch-Dest", "empty"}
}

// requireProblem checks an answer of application/problem+json and returns its detail.
func requireProblem(t *testing.T, r response, status int, code string) (detail string) {
	t.Helper()
	require.Equal(t, status, r.StatusCode, r.Body)
	require.Regexp(t, `^application/problem\+json`, r.Header.Get("Content-Type"))
	var p struct{ Code, Detail string }
	require.NoError(t, json.Unmarshal([]byte(r.Body), &p))
	require.Equal(t, code, p.Code, r.Body)
	return p.Detail
}
