package token_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

func encode(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// unsigned returns the first two parts of a token.
func (f *fixture) unsigned(t *testing.T, header map[string]any) string {
	t.Helper()
	h, err := json.Marshal(header)
	require.NoError(t, err)
	claims, err := json.Marshal(f.issuer.Claims("user_1", "org_1", "admin"))
	require.NoError(t, err)
	return encode(h) + "." + encode(claims)
}

// TestAttacks: every token here is refused, and for its own reason.
func TestAttacks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.signed(nil)
	f.accepted(t, good, "")
	parts := strings.Split(good, ".")
	now := f.clock.now().Unix()

	header := func(alg string) map[string]any {
		return map[string]any{"alg": alg, "typ": "JWT", "kid": f.issuer.KeyID, "cat": testkit.SessionToken}
	}
	claim := func(name string, value any) string {
		return f.signed(func(c map[string]any) { c[name] = value })
	}
	without := func(name string) string {
		return f.signed(func(c map[string]any) { delete(c, name) })
	}
	hmacOf := func(secret string) string {
		text := f.unsigned(t, header("HS256"))
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(text))
		return text + "." + encode(mac.Sum(nil))
	}
	rsaOf := func(alg string, hash crypto.Hash, sum func(string) []byte, sign func(*rsa.PrivateKey, crypto.Hash, []byte) ([]byte, error)) string {
		text := f.unsigned(t, header(alg))
		signature, err := sign(ownKey(), hash, sum(text))
		require.NoError(t, err)
		return text + "." + encode(signature)
	}
	pkcs := func(key *rsa.PrivateKey, hash crypto.Hash, sum []byte) ([]byte, error) {
		return rsa.SignPKCS1v15(nil, key, hash, sum)
	}
	pss := func(key *rsa.PrivateKey, hash crypto.Hash, sum []byte) ([]byte, error) {
		return rsa.SignPSS(rand.Reader, key, hash, sum, nil)
	}
	sum256 := func(s string) []byte { sum := sha256.Sum256([]byte(s)); return sum[:] }
	sum384 := func(s string) []byte { sum := sha512.Sum384([]byte(s)); return sum[:] }
	other := testkit.NewTokenIssuer(t) // another key, under the same issuer
	other.KeyID = f.issuer.KeyID
	headerText := []byte(`{"alg":"RS256","typ":"JWT","kid":"ins_own","cat":"cl_B7d4PD111AAA"}`)
	claimsText, err := json.Marshal(f.issuer.Claims("user_1"))
	require.NoError(t, err)
	raw := func(claims string) string { return f.issuer.SignJSON(headerText, []byte(claims)) }
	f.accepted(t, raw(string(claimsText)), "")
	second := func(members string) string {
		return raw(strings.TrimSuffix(string(claimsText), "}") + "," + members + "}")
	}

	const form, head, signature, claims = "not a signed JWT", "the header", "the signature", "the claims"
	for _, test := range []struct {
		name string
		raw  string
		code token.Code
		text string
	}{
		{"alg none", f.unsigned(t, header("none")) + ".", token.Invalid, form},
		{"alg none with a signature", f.unsigned(t, header("none")) + "." + parts[2], token.Invalid, head},
		{"alg None", f.unsigned(t, header("None")) + "." + parts[2], token.Invalid, head},
		{"no alg", f.unsigned(t, map[string]any{"kid": f.issuer.KeyID}) + "." + parts[2], token.Invalid, head},
		{"HS256 with the PEM as the secret", hmacOf(f.issuer.PEM), token.Invalid, "signed with HS256; Clerk signs with RS256"},
		{"HS256 with the trimmed PEM", hmacOf(strings.TrimSpace(f.issuer.PEM)), token.Invalid, "signed with HS256; Clerk signs with RS256"},
		{"HS256 with an empty secret", hmacOf(""), token.Invalid, "signed with HS256; Clerk signs with RS256"},
		{"RS384 by the right key", rsaOf("RS384", crypto.SHA384, sum384, pkcs), token.Invalid, "signed with RS384; Clerk signs with RS256"},
		{"PS256 by the right key", rsaOf("PS256", crypto.SHA256, sum256, pss), token.Invalid, "signed with PS256; Clerk signs with RS256"},
		{"PSS that says RS256", rsaOf("RS256", crypto.SHA256, sum256, pss), token.Invalid, signature},
		{"SHA-384 that says RS256", rsaOf("RS256", crypto.SHA384, sum384, pkcs), token.Invalid, signature},
		{"another key", other.Session("user_1"), token.Invalid, signature},
		{"another key in its header", other.Sign(other.Claims("user_1"), map[string]any{"jwk": other.JWK()}), token.Invalid, signature},
		{"another key behind a URL", other.Sign(other.Claims("user_1"), map[string]any{"jku": "https://evil.example/jwks.json", "x5u": "https://evil.example"}), token.Invalid, signature},
		{"claims of another token", parts[0] + "." + strings.Split(f.issuer.Session("user_2"), ".")[1] + "." + parts[2], token.Invalid, signature},
		{"header of another token", encode(append([]byte(" "), headerText...)) + "." + parts[1] + "." + parts[2], token.Invalid, signature},
		{"a short signature", parts[0] + "." + parts[1] + "." + parts[2][:8], token.Invalid, signature},
		{"crit", f.signed(nil, map[string]any{"crit": []string{"exp"}, "exp": 1}), token.Invalid, head},
		{"crit of what is supported", f.signed(nil, map[string]any{"crit": []string{"b64"}, "b64": true}), token.Invalid, head},
		{"an empty crit", f.signed(nil, map[string]any{"crit": []string{}}), token.Invalid, head},
		{"alg twice", f.issuer.SignJSON([]byte(`{"alg":"RS256","alg":"RS256","typ":"JWT"}`), claimsText), token.Invalid, head},
		{"an unknown algorithm", f.issuer.SignJSON([]byte(`{"alg":"`+strings.Repeat("X", 99)+`"}`), claimsText), token.Invalid, head},
		{"no JSON", "xxx.yyy.zzz", token.Invalid, "not a JWT: its first part is no JSON; send what Clerk's getToken() returns, as it is"},
		{"no base64", "a.b.c", token.Invalid, "its first part is no JSON"},
		{"a header that is no object", f.issuer.SignJSON([]byte(`"RS256"`), claimsText), token.Invalid, head},

		{"empty", "", token.Missing, "Authorization: Bearer"},
		{"only dots", "..", token.Invalid, form},
		{"no header", "." + parts[1] + "." + parts[2], token.Invalid, form},
		{"no claims", parts[0] + ".." + parts[2], token.Invalid, form},
		{"no signature", parts[0] + "." + parts[1] + ".", token.Invalid, form},
		{"two parts", parts[0] + "." + parts[1], token.Invalid, form},
		{"four parts", good + "." + parts[2], token.Invalid, form},
		{"white space before", " " + good, token.Invalid, form},
		{"white space after", good + "\n", token.Invalid, form},
		{"white space inside", good[:40] + "\n" + good[40:], token.Invalid, form},
		{"padding", parts[0] + "." + parts[1] + "." + parts[2] + "==", token.Invalid, form},
		{"base64 that is not for URLs", parts[0] + "." + parts[1] + "." + strings.Repeat("+/", 100), token.Invalid, form},
		{"JSON serialization", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, token.Invalid, form},
		{"encrypted", "a.b.c.d.e", token.Invalid, "JWE"},
		{"nested", f.issuer.SignJSON([]byte(`{"alg":"RS256","typ":"JWT","cty":"JWT"}`), []byte(good)), token.Invalid, claims},
		{"nested in a string", raw(`"` + good + `"`), token.Invalid, claims},
		{"oversized", claim("x", strings.Repeat("x", 8<<10)), token.Invalid, "8 KB"},
		{"oversized and not signed", strings.Repeat("x", 1<<20), token.Invalid, "8 KB"},

		{"expired", claim("exp", now), token.Expired, "getToken()"},
		{"expired long ago", claim("exp", 1), token.Expired, "getToken()"},
		{"no exp", without("exp"), token.Invalid, "exp"},
		{"exp is null", claim("exp", nil), token.Invalid, "exp"},
		{"exp is text", claim("exp", "9999999999"), token.Invalid, claims},
		{"exp is a fraction", claim("exp", float64(now)+60.5), token.Invalid, claims},
		{"exp is negative", claim("exp", -1), token.Invalid, "exp"},
		{"exp is huge", claim("exp", math.MaxInt64), token.Invalid, "exp"},
		{"exp overflows", raw(strings.Replace(string(claimsText), `"exp":`, `"exp":1`+strings.Repeat("0", 30), 1)), token.Invalid, claims},
		{"exp is a list", claim("exp", []int64{now + 60}), token.Invalid, claims},
		{"nbf in the future", claim("nbf", now+7), token.Invalid, "not valid yet"},
		{"nbf is huge", claim("nbf", math.MaxInt64), token.Invalid, "claim nbf is"},
		{"iat in the future", claim("iat", now+7), token.Invalid, "not valid yet"},
		{"iat is huge", claim("iat", math.MaxInt64), token.Invalid, "claim iat is"},

		{"another issuer", claim("iss", "https://clerk.other.example"), token.Invalid, "not issued by https://clerk.app.example"},
		{"an issuer that begins so", claim("iss", f.issuer.Issuer+".evil.example"), token.Invalid, "not issued by"},
		{"no issuer", without("iss"), token.Invalid, "not issued by"},
		{"another party", claim("azp", "https://evil.example"), token.Invalid, "made for another application (claim azp); add its origin to CLERK_AUTHORIZED_PARTIES if it is yours"},
		{"a party that begins so", claim("azp", app+".evil.example"), token.Invalid, "another application"},
		{"no party", without("azp"), token.Invalid, "claim azp"},
		{"a party called none", claim("azp", token.NoParty), token.Invalid, "another application"},
		{"pending", claim("sts", "pending"), token.Invalid, "the session is pending"},
		{"another status", claim("sts", "revoked"), token.Invalid, claims},

		{"of a template", f.issuer.Template("user_1", audience, nil), token.Category, "without a template"},
		{"of a template, with a session", f.signed(nil, map[string]any{"cat": testkit.TemplateToken}), token.Category, "without a template"},
		{"of a template without cat", f.issuer.Sign(map[string]any{"iss": f.issuer.Issuer, "sub": "user_1", "azp": app, "exp": now + 60}, map[string]any{"cat": nil}), token.Category, "names no session"},
		{"of a machine", f.issuer.Sign(map[string]any{"sub": "mch_1", "exp": now + 60}, map[string]any{"cat": testkit.MachineToken}), token.Category, "machine"},
		{"of OAuth", f.signed(nil, map[string]any{"typ": "at+jwt", "cat": nil}), token.Category, "not a session token"},
		{"of a kind to come", f.signed(nil, map[string]any{"cat": "cl_B7d4PD444AAA"}), token.Category, "not a session token"},
		{"cat is no text", f.signed(nil, map[string]any{"cat": 1}), token.Category, "not a session token"},
		{"cat is empty", f.signed(nil, map[string]any{"cat": ""}), token.Category, "not a session token"},
		{"no session", without("sid"), token.Category, "names no session"},

		{"a user that is none", claim("sub", "org_1"), token.Invalid, "claim sub is"},
		{"a user with a wildcard", claim("sub", "user_1.*"), token.Invalid, "claim sub is"},
		{"a user of 200 characters", claim("sub", "user_"+strings.Repeat("a", 200)), token.Invalid, "claim sub is"},
		{"no user", without("sub"), token.Invalid, "claim sub is missing or not user_…"},
		{"an organization without an id", claim("o", map[string]any{}), token.Invalid, "the claim o.id is missing or not org_…"},
		{"an organization that is none", second(`"org_id":"nowhere"`), token.Invalid, "the claim org_id is missing or not org_…"},
		{"two organizations", second(`"org_id":"org_1","o":{"id":"org_2"}`), token.Invalid, "the claim org_id names another organization"},
		{"a role that is none", claim("o", map[string]any{"id": "org_1", "rol": "a b"}), token.Invalid, "the claim o.rol is not the key of a role"},
		{"a session that is none", claim("sid", "x y"), token.Invalid, "claim sid is not sess_…"},
		{"a claim twice", second(`"sub":"user_2"`), token.Invalid, claims},
		{"an unknown claim twice", second(`"x":1,"x":2`), token.Invalid, claims},
		{"a claim twice inside another", second(`"o":{"id":"org_1","rol":"admin","id":"org_2"}`), token.Invalid, claims},
		{"a claim twice by an escape", second(`"\u0073ub":"user_2"`), token.Invalid, claims},
		{"claims in other case", raw(strings.Replace(string(claimsText), `"sub"`, `"SUB"`, 1)), token.Invalid, "claim sub is missing"},
		{"claims that are a list", raw("[" + string(claimsText) + "]"), token.Invalid, claims},
		{"claims that are null", raw("null"), token.Invalid, "exp"},
		{"two values", raw(string(claimsText) + string(claimsText)), token.Invalid, claims},
		{"not JSON", raw(`{"exp":`), token.Invalid, claims},
		{"broken UTF-8", raw(strings.Replace(string(claimsText), "user_1", "user_\xff", 1)), token.Invalid, claims},
		{"a NUL character", second(`"metadata":{"x":"a\u0000b"}`), token.Invalid, "NUL"},
		{"half a character", second(`"x":"\ud800"`), token.Invalid, claims},
		{"deeply nested", second(`"x":` + strings.Repeat("[", 5000)), token.Invalid, claims},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for range 2 { // a refused token is not remembered as one that is taken
				f.refused(t, test.raw, "", test.code, test.text)
			}
		})
	}
	t.Run("where an audience is asked for", func(t *testing.T) {
		t.Parallel()
		inside := map[string]any{"aud": audience}
		f.refused(t, good, audience, token.AudienceMismatch, `with the claim {"aud": "orders"}`)
		f.refused(t, claim("aud", audience), audience, token.AudienceMismatch, "JWT template") // a session token with a claim of its own
		f.refused(t, f.issuer.Sign(f.issuer.Claims("user_1"), inside), audience, token.AudienceMismatch, "JWT template")
		f.refused(t, f.issuer.Sign(map[string]any{"sub": "mch_1", "aud": audience, "exp": now + 60}, map[string]any{"cat": testkit.MachineToken}), audience, token.Category, "machine")
		noCat := f.issuer.Claims("user_1")
		noCat["aud"] = audience
		delete(noCat, "sid")
		f.refused(t, f.issuer.Sign(noCat, map[string]any{"cat": nil}), audience, token.AudienceMismatch, "JWT template")
	})
}
