package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// template is the header `cat` of a token made from a JWT template.
const template = "cl_B7d4PD222AAA"

// leeway bounds the difference between Clerk's clock and that of this machine.
const leeway = 5 * time.Second

// caller names the user, and the organization that is selected, if any.
type caller struct{ userID, orgID string }

// verifier takes tokens that Clerk signed for one service.
type verifier struct {
	key      any      // the public key of the Clerk instance
	issuer   string   // its Frontend API URL
	audience string   // the name of the service
	parties  []string // the origins of your applications
}

func newVerifier(publicPEM, issuer, audience, parties string) (*verifier, error) {
	block, _ := pem.Decode([]byte(publicPEM))
	if block == nil {
		return nil, errors.New("CLERK_JWT_KEY is not a PEM public key: copy it from Clerk dashboard → API keys → JWKS public key")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read CLERK_JWT_KEY: %w", err)
	}
	return &verifier{key: key, issuer: issuer, audience: audience, parties: strings.Split(parties, ",")}, nil
}

// fromToken returns who calls, from the token of the request. go-jose checks the
// signature, and the times and the issuer where the token has them. What it leaves open
// is checked here.
func (v *verifier) fromToken(r *http.Request) (caller, error) {
	scheme, raw, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || raw == "" {
		return caller{}, refuse("token_missing", `Send the token in the header "Authorization: Bearer …".`)
	}
	// Naming the one algorithm keeps "none" out, and HS256 with the public key as its secret.
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return caller{}, refuse("token_invalid", "This is no token that Clerk signed.")
	}
	var claims struct {
		jwt.Claims
		AuthorizedParty string `json:"azp"`
		OrgID           string `json:"org_id"`
	}
	if err := token.Claims(v.key, &claims); err != nil {
		return caller{}, refuse("token_invalid", "This is no valid token of this Clerk instance: compare CLERK_JWT_KEY.")
	}
	switch err := claims.ValidateWithLeeway(jwt.Expected{Issuer: v.issuer}, leeway); {
	case errors.Is(err, jwt.ErrExpired):
		return caller{}, refuse("token_expired", "The token is expired: get a new one.")
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return caller{}, refuse("token_invalid", "The token has another issuer: compare CLERK_FRONTEND_API_URL.")
	case err != nil || claims.Expiry == nil || claims.Subject == "": // without exp, a token would be good for ever
		return caller{}, refuse("token_invalid", "The token is not in its time, or lacks exp or sub.")
	}
	// A session token is good for the whole backend, and one for another service is good
	// there: this service could call them in the user's name.
	if token.Headers[0].ExtraHeaders["cat"] != template || !claims.Audience.Contains(v.audience) {
		return caller{}, refuse("audience_mismatch", fmt.Sprintf("This is not a token of JWT template '%[1]s': send that of getToken({template: '%[1]s'}), "+
			`made with {"aud": "%[1]s"} in Clerk's dashboard → JWT templates.`, v.audience))
	}
	// The page that asked for the token. A token that was made through the Backend API, as
	// the gateway's are, has no azp.
	if claims.AuthorizedParty != "" && !slices.Contains(v.parties, claims.AuthorizedParty) {
		return caller{}, refuse("token_invalid", "The token was made for another origin: compare CLERK_AUTHORIZED_PARTIES.")
	}
	return caller{claims.Subject, claims.OrgID}, nil
}

// fromHeaders returns who calls behind a proxy that asked clerksync (nginx.conf,
// Caddyfile). Whoever can connect to this service can send these headers: only the proxy
// may reach it.
func fromHeaders(r *http.Request) (caller, error) {
	c := caller{r.Header.Get("X-Clerk-User-Id"), r.Header.Get("X-Clerk-Org-Id")}
	if c.userID == "" {
		return c, refuse("token_missing", "This service is reached through the gateway only.")
	}
	return c, nil
}

func refuse(code, detail string) error {
	return &problem{http.StatusUnauthorized, code, detail}
}
