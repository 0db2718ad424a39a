package token_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

// frontendAPI is Clerk's Frontend API as far as the keys go.
type frontendAPI struct {
	*fixture
	requests atomic.Int64
	answer   atomic.Pointer[http.HandlerFunc]
	log      testkit.Output
}

// newFrontendAPI returns a fixture whose keys come over HTTP.
func newFrontendAPI(t *testing.T) *frontendAPI {
	t.Helper()
	a := &frontendAPI{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		if r.URL.Path != "/.well-known/jwks.json" || r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		(*a.answer.Load())(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	a.fixture = newFixture(t, func(o *token.Options) {
		o.Key, o.Issuer, o.Logger = "", server.URL, slog.New(slog.NewTextHandler(&a.log, nil))
	})
	a.issuer.Issuer = server.URL
	a.serve(a.issuer.JWKS.ServeHTTP)
	return a
}

func (a *frontendAPI) serve(h http.HandlerFunc) { a.answer.Store(&h) }

// keys serves keys.
func (a *frontendAPI) keys(t *testing.T, keys ...any) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	require.NoError(t, err)
	a.serve(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) })
}

// away answers as a Clerk that is away does.
func away(w http.ResponseWriter, _ *http.Request) { http.Error(w, "away", http.StatusBadGateway) }

// madeUp returns a token with a made-up key id.
func (a *frontendAPI) madeUp(n int) string {
	return a.issuer.Sign(a.issuer.Claims("user_1"), map[string]any{"kid": fmt.Sprintf("ins_%d", n)})
}

const (
	interval = 5 * time.Second // between two requests, at least
	keysFor  = time.Hour
)

// rotated returns who signs after a rotation.
func (a *frontendAPI) rotated(t *testing.T) *testkit.TokenIssuer {
	t.Helper()
	next := testkit.NewTokenIssuer(t)
	next.Issuer, next.KeyID, next.Now = a.issuer.Issuer, "ins_next", a.clock.now
	return next
}

func TestKeysAreRequestedOnce(t *testing.T) {
	t.Parallel()
	a := newFrontendAPI(t)
	require.Zero(t, a.requests.Load(), "New requests nothing")
	for range 20 {
		a.accepted(t, a.issuer.Session("user_1"), "")
	}
	require.EqualValues(t, 1, a.requests.Load())
	require.Equal(t, map[string]float64{"ok": 1, "failed": 0}, testkit.Values(t, a.registry, "clerksync_jwks_requests_total"))
	a.refused(t, a.issuer.Sign(a.issuer.Claims("user_1"), map[string]any{"kid": nil}), "", token.Invalid, "a key that this Clerk instance does not have")
}

// TestWrongKeyID: the key of the id decides, not one that happens to fit.
func TestWrongKeyID(t *testing.T) {
	t.Parallel()
	a := newFrontendAPI(t)
	next := a.rotated(t)
	a.keys(t, a.issuer.JWK(), next.JWK())
	a.accepted(t, a.issuer.Session("user_1"), "")
	a.accepted(t, next.Session("user_1"), "")
	a.refused(t, a.issuer.Sign(a.issuer.Claims("user_1"), map[string]any{"kid": "ins_next"}), "", token.Invalid, "the signature")
	a.refused(t, next.Sign(next.Claims("user_1"), map[string]any{"kid": "ins_own"}), "", token.Invalid, "the signature")
}

// TestMadeUpKeyIDs: however many come at once, they cause one request in the interval.
func TestMadeUpKeyIDs(t *testing.T) {
	t.Parallel()
	const (
		clients = 50
		each    = 200
	)
	for name, known := range map[string]bool{"keys known": true, "Clerk away": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFrontendAPI(t)
			code, valid := token.Invalid, a.issuer.Session("user_1")
			if known {
				a.accepted(t, valid, "")
				a.clock.advance(interval)
			} else {
				a.serve(away)
				code = token.KeysUnavailable
			}
			signed := strings.SplitAfterN(a.madeUp(0), ".", 2)[1]
			before := a.requests.Load()
			var wg sync.WaitGroup
			for client := range clients {
				wg.Go(func() {
					for i := range each {
						header := fmt.Sprintf(`{"alg":"RS256","typ":"JWT","kid":"ins_%d_%d"}`, client, i)
						_, err := a.verifier.Verify(t.Context(), encode([]byte(header))+"."+signed, "")
						var refusal *token.Error
						if !errors.As(err, &refusal) || refusal.Code != code {
							t.Errorf("%v", err)
						}
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, a.requests.Load()-before, "for 10,000 tokens")
			if known {
				a.accepted(t, valid, "")
			}
			a.clock.advance(interval - time.Nanosecond)
			a.refused(t, a.madeUp(1), "", code, "")
			require.EqualValues(t, 1, a.requests.Load()-before, "until the interval is over")
			a.clock.advance(time.Nanosecond)
			a.refused(t, a.madeUp(2), "", code, "")
			require.EqualValues(t, 2, a.requests.Load()-before)
		})
	}
}

// TestRotation: the first token of the new key brings it, and the old one goes with its
// tokens, also those that were verified before.
func TestRotation(t *testing.T) {
	t.Parallel()
	a := newFrontendAPI(t)
	old := a.issuer.Session("user_1")
	a.accepted(t, old, "")
	next := a.rotated(t)
	a.refused(t, next.Session("user_1"), "", token.Invalid, "a key that")
	a.clock.advance(interval)

	a.keys(t, a.issuer.JWK(), next.JWK())
	a.accepted(t, next.Session("user_1"), "")
	a.accepted(t, old, "")
	require.EqualValues(t, 2, a.requests.Load())

	a.keys(t, next.JWK())
	a.clock.advance(interval)
	a.refused(t, a.madeUp(1), "", token.Invalid, "a key that")
	a.accepted(t, next.Session("user_1"), "")
	a.refused(t, old, "", token.Invalid, "a key that")
}

// TestKeyWithAnotherValue: under the id of a key that is known.
func TestKeyWithAnotherValue(t *testing.T) {
	t.Parallel()
	a := newFrontendAPI(t)
	old := a.issuer.Session("user_1")
	a.accepted(t, old, "")
	next := a.rotated(t)
	next.KeyID = a.issuer.KeyID
	a.serve(next.JWKS.ServeHTTP)
	a.clock.advance(interval)
	a.refused(t, a.madeUp(1), "", token.Invalid, "a key that")
	a.refused(t, old, "", token.Invalid, "the signature")
	a.accepted(t, next.Session("user_1"), "")
}

// TestClerkAway: the last keys stay, and a token of theirs does not wait for Clerk.
func TestClerkAway(t *testing.T) {
	t.Parallel()
	a := newFrontendAPI(t)
	a.accepted(t, a.issuer.Session("user_1"), "")

	hang := make(chan struct{})
	a.serve(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		away(w, r)
	})
	a.clock.advance(keysFor)
	raw := a.issuer.Session("user_1")
	a.accepted(t, raw, "")
	require.Zero(t, testkit.Values(t, a.registry, "clerksync_jwks_requests_total")["failed"], "it waited for the request to end")
	testkit.Eventually(t, "the keys are requested beside the tokens", func() (bool, any) { return a.requests.Load() == 2, a.requests.Load() })
	close(hang)
	a.awaitRequests(t, "failed", 1)

	a.serve(away)
	a.clock.advance(24 * time.Hour)
	a.accepted(t, a.issuer.Session("user_1"), "")
	a.awaitRequests(t, "failed", 2)
	next := a.rotated(t)
	a.refused(t, next.Session("user_1"), "", token.Invalid, "a key that")

	a.clock.advance(interval)
	a.serve(next.JWKS.ServeHTTP)
	a.accepted(t, next.Session("user_1"), "")
}

func (a *frontendAPI) awaitRequests(t *testing.T, result string, n float64) {
	t.Helper()
	testkit.Eventually(t, "the requests have ended", func() (bool, any) {
		values := testkit.Values(t, a.registry, "clerksync_jwks_requests_total")
		return values[result] == n, values
	})
}

// TestStartWithoutClerk: until the first key, it is not the token's fault.
func TestStartWithoutClerk(t *testing.T) {
	t.Parallel()
	a := newFrontendAPI(t)
	a.serve(away)
	raw := a.issuer.Session("user_1")
	a.refused(t, raw, "", token.KeysUnavailable, a.issuer.Issuer+"/.well-known/jwks.json yet; try again soon, or set CLERK_JWT_KEY")
	a.serve(a.issuer.JWKS.ServeHTTP)
	a.refused(t, raw, "", token.KeysUnavailable, "try again")
	require.ErrorContains(t, a.verifier.CheckKeys(t.Context()), "there are none yet: check CLERK_FRONTEND_API_URL, or set CLERK_JWT_KEY")
	require.EqualValues(t, 1, a.requests.Load())
	require.Contains(t, a.log.String(), "every token gets 503 keys_unavailable; check CLERK_FRONTEND_API_URL or set CLERK_JWT_KEY")
	a.clock.advance(interval)
	require.NoError(t, a.verifier.CheckKeys(t.Context()), "it requests them")
	a.accepted(t, raw, "")
	require.EqualValues(t, 2, a.requests.Load())

	a.serve(away)
	a.clock.advance(keysFor)
	a.accepted(t, a.issuer.Session("user_2"), "")
	a.awaitRequests(t, "failed", 2)
	require.NoError(t, a.verifier.CheckKeys(t.Context()), "those at hand stay in use")
	testkit.Eventually(t, "the log says so", func() (bool, any) {
		return strings.Contains(a.log.String(), "those at hand stay in use"), a.log.String()
	})
	require.NoError(t, newFixture(t).verifier.CheckKeys(t.Context()), "a fixed key")
}

// TestKeysThatAreRefused: a set is taken when it has a key to use, and of it only those.
func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	good := testkit.NewTokenIssuerWithKey(t, ownKey(), "ins_own").JWK()
	changed := func(name string, value any) map[string]any {
		key := map[string]any{}
		for n, v := range good {
			key[n] = v
		}
		key[name] = value
		return key
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := curve.PublicKey.Bytes()
	require.NoError(t, err)
	set := func(keys ...any) string {
		text, err := json.Marshal(map[string]any{"keys": keys})
		require.NoError(t, err)
		return string(text)
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 8192)
	unusable := map[string]any{
		"for encryption":     changed("use", "enc"),
		"for no use":         changed("use", ""),
		"another algorithm":  changed("alg", "RS512"),
		"without an id":      changed("kid", ""),
		"weak":               changed("n", encode(weak.N.Bytes())),
		"too large":          changed("n", encode(huge.Add(huge, big.NewInt(1)).Bytes())),
		"broken":             changed("n", "!"),
		"symmetric":          map[string]any{"kty": "oct", "kid": "ins_own", "use": "sig", "alg": "RS256", "k": encode([]byte("secret"))},
		"elliptic":           map[string]any{"kty": "EC", "kid": "ins_own", "use": "sig", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])},
		"of a kind to come":  map[string]any{"kty": "AKP", "kid": "ins_own", "use": "sig"},
		"not even an object": 5,
	}
	for name, key := range unusable {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFrontendAPI(t)
			a.keys(t, key)
			a.refused(t, a.issuer.Session("user_1"), "", token.KeysUnavailable, "try again")
			a.keys(t, key, changed("kid", "ins_own"))
			a.clock.advance(interval)
			a.accepted(t, a.issuer.Session("user_1"), "")
		})
	}
	for name, answer := range map[string]http.HandlerFunc{
		"empty set":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(set())) },
		"no set":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"errors":[]}`)) },
		"a web page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`<html>`)) },
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.TrimSuffix(set(good), "}") + `,"x":"` + strings.Repeat("x", 64<<10) + `"}`))
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			_, _ = w.Write([]byte(set(good)))
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/.well-known/jwks.json?x", http.StatusFound)
		},
		"an error": away,
		"another status": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write([]byte(set(good)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFrontendAPI(t)
			a.serve(answer)
			a.refused(t, a.issuer.Session("user_1"), "", token.KeysUnavailable, "try again")
			require.EqualValues(t, 1, a.requests.Load())

			// Nor does it replace a key.
			a.serve(a.issuer.JWKS.ServeHTTP)
			a.clock.advance(interval)
			a.accepted(t, a.issuer.Session("user_1"), "")
			a.serve(answer)
			a.clock.advance(keysFor)
			a.accepted(t, a.issuer.Session("user_1"), "")
			a.awaitRequests(t, "failed", 2)
			a.accepted(t, a.issuer.Session("user_1"), "")
		})
	}
}

// TestWaitForKeysEnds: with the request that waits.
func TestWaitForKeysEnds(t *testing.T) {
	t.Parallel()
	a := newFrontendAPI(t)
	hang := make(chan struct{})
	a.serve(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
		a.issuer.JWKS.ServeHTTP(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	raw := a.issuer.Session("user_1")
	_, err := a.verifier.Verify(ctx, raw, "")
	require.ErrorContains(t, err, "keys_unavailable")
	close(hang)
	a.awaitRequests(t, "ok", 1) // it goes on for those that come later
	a.accepted(t, raw, "")
	require.EqualValues(t, 1, a.requests.Load())
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	issuer := testkit.NewTokenIssuerWithKey(t, ownKey(), "ins_own")
	body := strings.TrimSpace(strings.NewReplacer("-----BEGIN PUBLIC KEY-----", "", "-----END PUBLIC KEY-----", "").Replace(issuer.PEM))
	for name, text := range map[string]string{
		"PEM":                        issuer.PEM,
		"Windows":                    strings.ReplaceAll(issuer.PEM, "\n", "\r\n"),
		"escaped newlines":           strings.ReplaceAll(issuer.PEM, "\n", `\n`),
		"escaped newlines in quotes": `"` + strings.ReplaceAll(issuer.PEM, "\n", `\n`) + `"`,
		"one line with spaces":       strings.ReplaceAll(issuer.PEM, "\n", " "),
		"one line":                   strings.ReplaceAll(issuer.PEM, "\n", ""),
		"only the body":              body,
		"only the body, in one line": strings.ReplaceAll(body, "\n", ""),
		"only the body, indented":    "  " + strings.ReplaceAll(body, "\n", "\n  "),
	} {
		key, err := token.ParseKey(text)
		require.NoError(t, err, name)
		require.True(t, key.Equal(ownKey().Public()), name)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	onCurve, err := x509.MarshalPKIXPublicKey(curve.Public())
	require.NoError(t, err)
	const notPEM = "not a public key in PEM: was it copied whole? It is the key itself, not the name of a file, and is in the Clerk dashboard → API keys"
	for text, want := range map[string]string{
		"":                      notPEM,
		"sk_test_hidden":        notPEM,
		body[:100]:              notPEM,
		body + body:             notPEM,
		issuer.PEM + issuer.PEM: notPEM,
		"-----BEGIN PRIVATE KEY-----\nhidden\n-----END PRIVATE KEY-----":         "a private key; only the public one is needed, and Clerk does not give out the other",
		"-----BEGIN RSA PRIVATE KEY-----\nhidden\n-----END RSA PRIVATE KEY-----": "a private key; only the public one is needed, and Clerk does not give out the other",
		testkit.NewTokenIssuerWithKey(t, weak, "x").PEM:                          "an RSA key of 1024 bits; 2048 to 8192 are taken",
		base64.StdEncoding.EncodeToString(onCurve):                               "not an RSA key, and Clerk signs with RS256",
	} {
		_, err := token.ParseKey(text)
		require.EqualError(t, err, want)
	}
}
