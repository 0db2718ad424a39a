package token_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/token"
)

func TestFromRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		authorization []string
		cookie        string
		want          string
	}{
		{"nothing", nil, "", ""},
		{"header", []string{"Bearer a.b.c"}, "", "a.b.c"},
		{"scheme in any case", []string{"bEARER a.b.c"}, "", "a.b.c"},
		{"spaces", []string{"Bearer   a.b.c "}, "", "a.b.c"},
		{"cookie", nil, "__client_uat=1; __session=a.b.c; x=y", "a.b.c"},
		{"the header goes first", []string{"Bearer a.b.c"}, "__session=d.e.f", "a.b.c"},
		{"an empty header as well", []string{"Bearer "}, "__session=d.e.f", ""},
		{"another scheme, as of a proxy", []string{"Basic dTpw"}, "__session=d.e.f", "d.e.f"},
		{"no scheme", []string{"a.b.c"}, "", ""},
		{"the first of two", []string{"Bearer a.b.c", "Bearer d.e.f"}, "", "a.b.c"},
		{"another cookie", nil, "session=a.b.c; __Session=d.e.f", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{Header: http.Header{}}
			for _, value := range test.authorization {
				r.Header.Add("Authorization", value)
			}
			if test.cookie != "" {
				r.Header.Set("Cookie", test.cookie)
			}
			require.Equal(t, test.want, token.FromRequest(r))
		})
	}
}

// TestVerifyRequest: a token without a party is taken from the header only.
func TestVerifyRequest(t *testing.T) {
	t.Parallel()
	native := newFixture(t, func(o *token.Options) { o.AuthorizedParties = []string{app, token.NoParty} })
	open := newFixture(t, func(o *token.Options) { o.AuthorizedParties = nil })
	without := func(f *fixture) string { return f.signed(func(c map[string]any) { delete(c, "azp") }) }
	const header, inCookie, no = "Authorization", "Cookie", "the token of the cookie does not name the application"
	for _, test := range []struct {
		name    string
		f       *fixture
		raw     string
		in      string
		refused string
	}{
		{"a browser", native, native.signed(nil), inCookie, ""},
		{"a browser with the header", native, native.signed(nil), header, ""},
		{"a native app", native, without(native), header, ""},
		{"a cookie of nobody knows where", native, without(native), inCookie, no},
		{"no parties", open, without(open), inCookie, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := (&http.Request{Header: http.Header{}}).WithContext(t.Context())
			r.Header.Set(test.in, map[string]string{header: "Bearer ", inCookie: "__session="}[test.in]+test.raw)
			for range 2 { // the second time out of the cache
				claims, err := test.f.verifier.VerifyRequest(r, "")
				if test.refused != "" {
					require.Nil(t, claims)
					require.ErrorContains(t, err, test.refused)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, "user_1", claims.UserID)
			}
			if test.refused != "" { // and once it is in the cache
				test.f.accepted(t, test.raw, "")
				_, err := test.f.verifier.VerifyRequest(r, "")
				require.ErrorContains(t, err, test.refused)
			}
		})
	}
	_, err := native.verifier.VerifyRequest(&http.Request{Header: http.Header{}}, "")
	require.ErrorContains(t, err, "token_missing")
	good := "Bearer " + native.signed(nil)
	_, err = native.verifier.VerifyRequest(&http.Request{Header: http.Header{"Authorization": {good, good}}}, "")
	require.ErrorContains(t, err, "token_invalid: there are two Authorization headers; send one")
}
