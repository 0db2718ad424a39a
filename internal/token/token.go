package token

import (
	"context"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxToken is the length of the longest token that is read. A session token fits into
	// a cookie of 4 KB; proxies take no header line of more than 8.
	maxToken = 8 << 10

	// leeway is how far Clerk's clock may be ahead. An expiry has none: clients renew
	// their tokens before it.
	leeway = 5 * time.Second
)

// NoParty among [Options.AuthorizedParties] stands for tokens without a party. Clerk takes
// it from the header Origin, which native apps do not send.
const NoParty = "none"

// Options configure a [Verifier]. It needs a key or an issuer.
type Options struct {
	Key               string   // public key of the Clerk instance in PEM, see [ParseKey]; with it nothing is requested from Clerk
	Issuer            string   // https://clerk.example.com: who has to have issued the tokens, and where the keys are; "" takes any with a Key
	AuthorizedParties []string // origins for which tokens may have been made, and [NoParty]; none takes every party
	Audiences         []string // of JWT templates whose tokens are taken

	Registry prometheus.Registerer
	Logger   *slog.Logger
	Now      func() time.Time // for tests; nil is [time.Now]
}

// Verifier verifies tokens. Several goroutines may use it.
type Verifier struct {
	fixed     *rsa.PublicKey // nil with keys from Clerk
	jwks      *jwks          // nil with a fixed key
	issuer    string
	parties   []string
	audiences []string
	now       func() time.Time
	cache     *cache
	results   *prometheus.CounterVec
}

// New returns a verifier, or an error about the options. It requests nothing.
func New(o Options) (*Verifier, error) {
	v := &Verifier{issuer: o.Issuer, parties: slices.Clone(o.AuthorizedParties), audiences: slices.Clone(o.Audiences), now: o.Now, cache: newCache()}
	if v.now == nil {
		v.now = time.Now
	}
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Key != "":
		var err error
		if v.fixed, err = ParseKey(o.Key); err != nil {
			return nil, fmt.Errorf("CLERK_JWT_KEY: %w", err)
		}
	case o.Issuer == "":
		return nil, errors.New("no key for tokens: set CLERK_JWT_KEY, CLERK_FRONTEND_API_URL or CLERK_PUBLISHABLE_KEY (Clerk dashboard → API keys)")
	}
	m := newInstruments(o.Registry)
	v.results = m.tokens
	if v.fixed == nil {
		v.jwks = newJWKS(o.Issuer, v.now, logger, m.requests)
	}
	if len(v.parties) == 0 {
		logger.Warn("CLERK_AUTHORIZED_PARTIES is not set, so a token that Clerk made for any of your applications is taken; set it to the origins that call this API: another subdomain that got hold of the cookie could use it here")
	}
	return v, nil
}

// Verify returns the claims of a token, or an [Error] that says why it is refused. With
// audience "" it takes session tokens, and otherwise tokens of JWT templates for exactly
// this audience, which must be one of [Options.Audiences].
func (v *Verifier) Verify(ctx context.Context, raw, audience string) (*Claims, error) {
	return v.count(v.verify(ctx, raw, use{audience: audience}))
}

// VerifyRequest is Verify for the token of a request: of the header Authorization, or
// else of the cookie __session. Where parties are configured, a token without one is taken
// from the header only, also with [NoParty]: a cookie can come from another subdomain, and
// native apps have none.
func (v *Verifier) VerifyRequest(r *http.Request, audience string) (*Claims, error) {
	if len(r.Header.Values("Authorization")) > 1 { // of which two readers could take different ones
		return v.count(nil, "", errTwo)
	}
	raw, inCookie := find(r)
	return v.count(v.verify(r.Context(), raw, use{audience, inCookie && len(v.parties) > 0}))
}

// count counts the result of a token.
func (v *Verifier) count(t *verified, result string, err error) (*Claims, error) {
	if refused, ok := errors.AsType[*Error](err); ok {
		result = string(refused.Code)
	}
	v.results.WithLabelValues(result).Inc()
	if err != nil {
		return nil, err
	}
	return &t.claims, nil
}

// use is what a token is used for.
type use struct {
	audience   string // "": as a session token
	needsParty bool
}

func (v *Verifier) verify(ctx context.Context, raw string, u use) (t *verified, result string, err error) {
	switch {
	case raw == "":
		return nil, "", errMissing
	case len(raw) > maxToken:
		return nil, "", errTooLong
	case u.audience != "" && !slices.Contains(v.audiences, u.audience):
		return nil, "", unknownAudience(u.audience)
	}
	d := digest(sha256.Sum256([]byte(raw)))
	if t := v.cache.get(d); t != nil {
		if key, err := v.key(ctx, t.kid); err == nil && key == t.key {
			if err = t.check(v.now(), u); errors.Is(err, errExpired) {
				v.cache.drop(d)
			}
			return t, resultCached, err
		}
		v.cache.drop(d) // its key is gone, or was read anew
	}
	if t, err = v.open(ctx, raw, u.audience); err != nil {
		return nil, "", err
	}
	if err = t.check(v.now(), u); err != nil {
		return nil, "", err
	}
	v.cache.put(d, t)
	return t, resultVerified, nil
}

// open verifies a token that is not in the cache: first the signature, then the claims.
func (v *Verifier) open(ctx context.Context, raw, audience string) (*verified, error) {
	if err := checkForm(raw); err != nil {
		return nil, err
	}
	signed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || len(signed.Signatures) != 1 {
		return nil, headerFault(raw)
	}
	header := signed.Signatures[0].Protected
	if _, critical := header.ExtraHeaders["crit"]; critical {
		return nil, errHeader
	}
	key, err := v.key(ctx, header.KeyID)
	if err != nil {
		return nil, err
	}
	content, err := signed.Verify(key)
	if err != nil {
		return nil, errSignature
	}
	cat := categoryOf(header)
	if err := cat.check(audience); err != nil { // first: a machine's claims are others
		return nil, err
	}
	return v.read(content, &verified{category: cat, kid: header.KeyID, key: key})
}

// read fills in the signed claims, after it checked what holds for the token's whole life.
func (v *Verifier) read(signed []byte, t *verified) (*verified, error) {
	c, err := decode(signed)
	if err != nil {
		return nil, err
	}
	org, err := c.organization()
	switch {
	case err != nil:
		return nil, err
	case v.issuer != "" && c.Issuer != v.issuer:
		return nil, invalid("the token is not issued by " + v.issuer + " (claim iss); is it from another Clerk instance, or is CLERK_FRONTEND_API_URL wrong?")
	case len(v.parties) > 0 && c.Party == "" && !slices.Contains(v.parties, NoParty):
		return nil, errNoParty
	case len(v.parties) > 0 && c.Party != "" && !slices.Contains(v.parties, c.Party):
		return nil, errParty
	case c.Status == "pending":
		return nil, errPending
	case c.Status != "" && c.Status != "active":
		return nil, errClaims
	case t.category == session && c.Session == "":
		return nil, errNoSession
	case t.category == session && !validID(c.Session, "sess_"):
		return nil, misformed("sid is not sess_…")
	}
	t.claims = Claims{UserID: c.Subject, AuthorizedParty: c.Party, Org: org, ExpiresAt: time.Unix(*c.Expires, 0).UTC(), JSON: signed}
	if t.category == session {
		t.claims.SessionID = c.Session
	}
	if c.IssuedAt != 0 {
		t.claims.IssuedAt = time.Unix(c.IssuedAt, 0).UTC()
	}
	t.notBefore, t.audiences = time.Unix(max(c.NotBefore, c.IssuedAt), 0), c.Audience
	return t, nil
}

// check checks what depends on the use.
func (t *verified) check(now time.Time, u use) error {
	if err := t.category.check(u.audience); err != nil {
		return err
	}
	switch {
	case !now.Before(t.claims.ExpiresAt):
		return errExpired
	case t.notBefore.After(now.Add(leeway)):
		return errFuture
	case u.audience != "" && !t.audiences.has(u.audience):
		return mismatch(u.audience)
	case u.needsParty && t.claims.AuthorizedParty == "":
		return errCookie
	}
	return nil
}

// mismatch is the refusal of a token that is not for the audience.
func mismatch(audience string) *Error {
	return &Error{AudienceMismatch, fmt.Sprintf("the token is not for the audience %[1]q; make a JWT template in the Clerk dashboard → JWT templates with the claim {\"aud\": %[1]q}, and call getToken({template: …}) with its name", audience)}
}

// CheckKeys returns an error while there is no key, and tokens therefore cannot be verified.
// It requests the keys then, as a token would.
func (v *Verifier) CheckKeys(ctx context.Context) error {
	if v.fixed != nil || v.jwks.keys.Load() != nil || v.jwks.await(ctx) != nil {
		return nil
	}
	return errors.New("the keys of Clerk could not be fetched, and there are none yet: check CLERK_FRONTEND_API_URL, or set CLERK_JWT_KEY")
}

func (v *Verifier) key(ctx context.Context, kid string) (*rsa.PublicKey, error) {
	if v.fixed != nil {
		return v.fixed, nil
	}
	return v.jwks.key(ctx, kid)
}

// base64url is the alphabet of a token's parts.
const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// checkForm checks that a token is three parts in base64url, before anything decodes them:
// decoders skip newlines.
func checkForm(raw string) error {
	parts := strings.Split(raw, ".")
	if len(parts) == 5 {
		return errEncrypted
	}
	if len(parts) != 3 {
		return errForm
	}
	for _, part := range parts {
		if part == "" || strings.Trim(part, base64url) != "" {
			return errForm
		}
	}
	return nil
}

// otherAlgorithms are those of JOSE that others sign with.
var otherAlgorithms = []string{"HS256", "HS384", "HS512", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}

// headerFault says what is wrong with the header of a token that could not be read. It
// decides nothing.
func headerFault(raw string) *Error {
	part, _, _ := strings.Cut(raw, ".")
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || !jsontext.Value(text).IsValid(jsontext.AllowDuplicateNames(true)) {
		return errNoJSON
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	if json.Unmarshal(text, &header) == nil && slices.Contains(otherAlgorithms, header.Algorithm) {
		return invalid("the token is signed with " + header.Algorithm + "; Clerk signs with RS256: send what getToken() returns")
	}
	return errHeader
}

// category is what a token of Clerk is for.
type category uint8

const (
	session category = iota
	template
	machine
	other
)

// categoryOf reads the header cat, which says what a token is. Old session tokens had none;
// a token without it is never one of a template, so that no other kind that Clerk signs
// can pass for it.
func categoryOf(h jose.Header) category {
	if typ, ok := h.ExtraHeaders["typ"]; ok {
		if name, _ := typ.(string); !strings.EqualFold(name, "JWT") { // at+jwt: of OAuth
			return other
		}
	}
	cat, ok := h.ExtraHeaders["cat"]
	switch {
	case !ok, cat == "cl_B7d4PD111AAA":
		return session
	case cat == "cl_B7d4PD222AAA":
		return template
	case cat == "cl_B7d4PD333AAA":
		return machine
	}
	return other
}

// check checks the category for a use, a session when audience is "".
func (c category) check(audience string) error {
	switch {
	case c == machine:
		return errMachine
	case c == other:
		return errOther
	case c == template && audience == "":
		return errTemplate
	case c == session && audience != "":
		return mismatch(audience)
	}
	return nil
}
