package token_test

import (
	"crypto/rand"
	"crypto/rsa"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/testkit"
	"github.com/clerksync/clerksync/internal/token"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	app      = "https://app.example" // the party of the tokens of testkit
	audience = "orders"
)

// ownKey is a key that these tests can sign with in ways that testkit's issuer cannot.
var ownKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// clock is a time that only a test advances.
type clock struct{ nanoseconds atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanoseconds.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanoseconds.Load()) }
func (c *clock) advance(d time.Duration) { c.nanoseconds.Add(int64(d)) }

// fixture is a verifier with a fixed key, and who signs for it.
type fixture struct {
	issuer   *testkit.TokenIssuer
	verifier *token.Verifier
	clock    *clock
	registry *prometheus.Registry
}

func newFixture(t testing.TB, change ...func(*token.Options)) *fixture {
	t.Helper()
	f := &fixture{
		issuer: testkit.NewTokenIssuerWithKey(t, ownKey(), "ins_own"),
		clock:  newClock(), registry: prometheus.NewRegistry(),
	}
	f.issuer.Now = f.clock.now
	o := token.Options{
		Key: f.issuer.PEM, Issuer: f.issuer.Issuer, AuthorizedParties: []string{app}, Audiences: []string{audience, "billing"},
		Registry: f.registry, Logger: slog.New(slog.DiscardHandler), Now: f.clock.now,
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	f.verifier, err = token.New(o)
	require.NoError(t, err)
	return f
}

// accepted returns the claims of a token that has to be taken.
func (f *fixture) accepted(t testing.TB, raw, audience string) *token.Claims {
	t.Helper()
	claims, err := f.verifier.Verify(t.Context(), raw, audience)
	require.NoError(t, err)
	require.NotNil(t, claims)
	return claims
}

// refused requires that a token is refused, with this code and a detail that contains this
// text.
func (f *fixture) refused(t testing.TB, raw, audience string, code token.Code, text string) {
	t.Helper()
	claims, err := f.verifier.Verify(t.Context(), raw, audience)
	require.Nil(t, claims)
	var refusal *token.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, code, refusal.Code, refusal.Detail)
	require.Contains(t, refusal.Detail, text)
	if len(raw) > 20 {
		require.NotContains(t, err.Error(), raw[:20])
	}
}

// signed returns a session token with a change.
func (f *fixture) signed(change func(claims map[string]any), headers ...map[string]any) string {
	claims := f.issuer.Claims("user_1", "org_1", "admin")
	if change != nil {
		change(claims)
	}
	return f.issuer.Sign(claims, headers...)
}
