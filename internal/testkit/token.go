package testkit

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TokenIssuer signs tokens as a Clerk instance does. All of one process have the same key,
// since making one is slow.
type TokenIssuer struct {
	Issuer string       // the claim iss; change it before the first token if the JWKS is served
	PEM    string       // the public key, for CLERK_JWT_KEY
	KeyID  string       // the header kid
	JWKS   http.Handler // serves the public key at every path
	Now    func() time.Time

	t   testing.TB
	key *rsa.PrivateKey
}

// The values of the header cat.
const (
	SessionToken  = "cl_B7d4PD111AAA"
	TemplateToken = "cl_B7d4PD222AAA"
	MachineToken  = "cl_B7d4PD333AAA"
)

// tokenKey is the key of every issuer.
var tokenKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// NewTokenIssuer returns an issuer.
func NewTokenIssuer(t testing.TB) *TokenIssuer {
	t.Helper()
	key, err := tokenKey()
	if err != nil {
		t.Fatal(err)
	}
	return NewTokenIssuerWithKey(t, key, "ins_2TokenIssuerOfTheTests")
}

// NewTokenIssuerWithKey returns an issuer with a key of its own: of another instance, or
// after a rotation.
func NewTokenIssuerWithKey(t testing.TB, key *rsa.PrivateKey, keyID string) *TokenIssuer {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	i := &TokenIssuer{
		Issuer: "https://clerk.app.example", KeyID: keyID, Now: time.Now, t: t, key: key,
		PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}
	i.JWKS = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{i.JWK()}})
	})
	return i
}

// JWK returns the public key as it stands in a JWKS.
func (i *TokenIssuer) JWK() map[string]any {
	return map[string]any{
		"use": "sig", "kty": "RSA", "kid": i.KeyID, "alg": "RS256",
		"n": base64.RawURLEncoding.EncodeToString(i.key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(i.key.E)).Bytes()),
	}
}

// Sign returns a token with these claims and nothing else. The headers are those of a
// session token, with the given ones over them; a nil value removes one.
func (i *TokenIssuer) Sign(claims map[string]any, headers ...map[string]any) string {
	i.t.Helper()
	header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": i.KeyID, "cat": SessionToken}
	for _, h := range headers {
		maps.Copy(header, h)
	}
	maps.DeleteFunc(header, func(_ string, v any) bool { return v == nil })
	return i.SignJSON(i.encode(header), i.encode(claims))
}

// SignJSON returns a token with this header and these claims, byte for byte.
func (i *TokenIssuer) SignJSON(header, claims []byte) string {
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, sum[:])
	if err != nil {
		i.t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// Claims returns the claims of a fresh session token of version 2, to change and sign.
// The organization is an id and a role, org_1 and admin; without it, none is selected.
func (i *TokenIssuer) Claims(userID string, org ...string) map[string]any {
	now := i.Now().Unix()
	claims := map[string]any{
		"iss": i.Issuer, "sub": userID, "sid": "sess_2SessionOfTheTests", "azp": "https://app.example",
		"iat": now, "nbf": now - 10, "exp": now + 60, "jti": "d1c4a3e0", "fva": []int{0, -1}, "sts": "active", "v": 2,
	}
	if len(org) == 2 {
		claims["o"] = map[string]any{"id": org[0], "slg": "slug-of-the-tests", "rol": org[1]}
	}
	return claims
}

// Session returns a session token, see [TokenIssuer.Claims].
func (i *TokenIssuer) Session(userID string, org ...string) string {
	i.t.Helper()
	return i.Sign(i.Claims(userID, org...))
}

// Template returns a token of a JWT template for an audience, which has the claims that
// the template adds as well.
func (i *TokenIssuer) Template(userID, audience string, more map[string]any) string {
	i.t.Helper()
	claims := i.Claims(userID)
	for _, name := range []string{"sid", "fva", "sts", "v"} {
		delete(claims, name)
	}
	claims["aud"] = audience
	maps.Copy(claims, more)
	return i.Sign(claims, map[string]any{"cat": TemplateToken})
}

func (i *TokenIssuer) encode(v any) []byte {
	i.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}
