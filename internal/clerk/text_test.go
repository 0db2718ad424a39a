package clerk_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
)

func TestCleanText(t *testing.T) {
	t.Parallel()
	const fffd = "\uFFFD"
	for in, want := range map[string]string{
		`"a\u0000b"`:               `"a\ufffdb"`,
		`"\u0000\u0000"`:           `"\ufffd\ufffd"`,
		`{"\u0000":"\u0000"}`:      `{"\ufffd":"\ufffd"}`,
		`"\\\u0000"`:               `"\\\ufffd"`,
		`"high \ud83d off"`:        `"high \ufffd off"`,
		`"low \ude00 off"`:         `"low \ufffd off"`,
		`"\uD83D"`:                 `"\ufffd"`,
		`"\ude00\ud83d"`:           `"\ufffd\ufffd"`, // a pair the wrong way round
		`"\ud83d\ud83d\ude00"`:     `"\ufffd\ud83d\ude00"`,
		`"\ud83d\ude00\ude00"`:     `"\ud83d\ude00\ufffd"`,
		`"\ud83d\u0041"`:           `"\ufffd\u0041"`,
		`"\ud83d\u0000"`:           `"\ufffd\ufffd"`,
		`"\ud83d\n\ude00"`:         `"\ufffd\n\ufffd"`,
		`"\ud83d\\ude00"`:          `"\ufffd\\ude00"`,
		`"\ud83d`:                  `"\ufffd`, // cut off inside of a pair
		`"\ud83d\ude0`:             `"\ufffd\ude0`,
		`"\ud83d\`:                 `"\ufffd\`,
		"\"a\xffb\"":               `"a` + fffd + `b"`,
		"\"\xf0\x9f\x98\"":         `"` + fffd + `"`,
		"\"\xed\xa0\xbd\"":         `"` + fffd + `"`, // a surrogate in UTF-8
		"\"\xc0\x80\\u0000\xff\"":  `"` + fffd + `\ufffd` + fffd + `"`,
		"\"\\ud83d\xff\\ude00 x\"": `"\ufffd` + fffd + `\ufffd x"`,
	} {
		require.Equal(t, want, string(clerk.CleanText([]byte(in))), in)
	}
}

// TestCleanTextLeavesWhatIsClean, and hands back the same memory.
func TestCleanTextLeavesWhatIsClean(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		``, `{}`, `"\\u0000"`, `"\\\\u0000"`, `"\\ud83d"`, `"\ud83d\ude00"`, `"\uD83D\uDE00"`, `"\ufffd"`, `"\u0001"`, `"\n\"\\"`,
		`"😀 \\"`, `"\u00000"`[:2], `"\u`, `"\u00`, `"\`, `"\uzzzz"`,
	} {
		data := []byte(in)
		out := clerk.CleanText(data)
		require.Equal(t, in, string(out))
		if len(data) > 0 {
			require.Same(t, &data[0], &out[0], in)
		}
	}
}

// pieces of JSON strings: valid text stays, PostgreSQL gets U+FFFD for the rest.
var pieces = []string{
	"a", "é", "😀", "u0000", `\\`, `\"`, `\n`, `\/`, `\u0000`, `\u0001`, `\u0041`, `\ufffd`, `\uD7FF`, `\uE000`, `\ud83d`, `\uDBFF`, `\ude00`,
	`\uDC00`, `\ud83d\ude00`, "\xff", "\xf0\x9f", "\xed\xa0\x80", "\xc0\x80",
}

// texts draws JSON of one string or an array or object of them.
func texts() *rapid.Generator[string] {
	str := rapid.Map(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8), func(p []string) string { return `"` + strings.Join(p, "") + `"` })
	return rapid.OneOf(
		str,
		rapid.Map(rapid.SliceOfN(str, 0, 4), func(s []string) string { return "[" + strings.Join(s, " , ") + "]" }),
		rapid.Map(rapid.SliceOfN(str, 2, 2), func(s []string) string { return "{" + s[0] + ":" + s[1] + ",\"\\u0061\":1e3}" }),
	)
}

// TestCleanTextIsWhatPostgresTakes: whatever JSON it is given, it returns JSON
// in valid Unicode without a NUL, that says the same otherwise.
func TestCleanTextIsWhatPostgresTakes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := texts().Draw(t, "in")
		out := clerk.CleanText([]byte(in))

		strings1, err := stringsIn(out)
		require.NoError(t, err, "%q of %q", out, in)
		for _, s := range strings1 {
			require.NotContains(t, s, "\x00", "%q of %q", out, in)
		}
		// Independently: the standard library replaces lone surrogates, and each
		// byte of broken UTF-8, by itself.
		require.Equal(t, reference(t, []byte(in)), reference(t, out), "%q of %q", out, in)

		if _, err := stringsIn([]byte(in)); err == nil && !strings.Contains(strings.Join(must(stringsIn([]byte(in))), ""), "\x00") {
			require.Equal(t, in, string(out), "clean input is not touched")
		}
		require.Equal(t, string(out), string(clerk.CleanText(out)), "what is clean stays")
	})
}

// FuzzCleanText: it never panics, and what is JSON stays JSON.
func FuzzCleanText(f *testing.F) {
	for _, p := range pieces {
		f.Add([]byte(`{"k":"` + p + p + `"}`))
		f.Add([]byte(p))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := string(in)
		out := clerk.CleanText(in)
		require.Equal(t, before, string(in), "its input is not changed")
		require.True(t, utf8.Valid(out))
		if !jsontext.Value(in).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) {
			return
		}
		all, err := stringsIn(out)
		require.NoError(t, err)
		require.NotContains(t, strings.Join(all, ""), "\x00")
	})
}

// stringsIn reads JSON strictly as to Unicode and returns all strings in it, keys
// too. Different keys can become equal when they are cleaned: that is for
// TestKeysThatBecomeEqual.
func stringsIn(data []byte) ([]string, error) {
	dec := jsontext.NewDecoder(strings.NewReader(string(data)), jsontext.AllowDuplicateNames(true))
	var all []string
	for {
		tok, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		case tok.Kind() == '"':
			all = append(all, tok.String())
		}
	}
}

// reference decodes with the standard library. Runs of replacements count as one:
// how many stand for broken bytes does not matter.
func reference(t require.TestingT, data []byte) any {
	var v any
	require.NoError(t, json.Unmarshal(data, &v), "%q", data)
	return normal(v)
}

func normal(v any) any {
	switch v := v.(type) {
	case string:
		s := strings.ReplaceAll(v, "\x00", "\uFFFD")
		for strings.Contains(s, "\uFFFD\uFFFD") {
			s = strings.ReplaceAll(s, "\uFFFD\uFFFD", "\uFFFD")
		}
		return s
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
		return v
	case map[string]any:
		m := map[string]any{}
		for k, x := range v {
			m[normal(k).(string)] = normal(x)
		}
		return m
	}
	return v
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
