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
