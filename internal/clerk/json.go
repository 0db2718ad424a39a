package clerk

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// strict refuses duplicate keys, of which two readers could take different ones. It lets
// in broken UTF-8 and lone surrogates, because Clerk passes on text as people typed it;
// cleanText replaces them before they reach PostgreSQL.
var strict = json.JoinOptions(
	jsontext.AllowDuplicateNames(false),
	jsontext.AllowInvalidUTF8(true),
)

// cleaned is for data that cleanText changed, which can make keys equal.
var cleaned = jsontext.AllowDuplicateNames(true)

// decode reads data into v. Its errors name the position of the fault and never quote the
// data: they end up in logs and dead letters.
func decode(data []byte, v any, options json.Options) error {
	err := json.Unmarshal(data, v, options)
	if err == nil {
		return nil
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errors.New("a key stands twice in one object")
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		return fmt.Errorf("unexpected %s at %s", kindName(semantic.JSONKind), pointer(semantic.JSONPointer))
	}
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &syntactic) {
		return fmt.Errorf("not JSON: fault at byte %d", syntactic.ByteOffset)
	}
	return errors.New("not JSON")
}

// pointer returns p up to public_metadata: names below it are the application's, and may
// be personal.
func pointer(p jsontext.Pointer) string {
	var kept jsontext.Pointer
	for token := range p.Tokens() {
		kept = kept.AppendToken(token)
		if token == "public_metadata" {
			break
		}
	}
	if kept == "" {
		return "the top level"
	}
	return string(kept)
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case '0':
		return "number"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "value"
}

// replacement is U+FFFD, for characters that PostgreSQL cannot store.
const replacement = `\ufffd`

// cleanText replaces everything in JSON that jsonb and text refuse: NUL characters, lone
// surrogates and broken UTF-8. It returns data itself when there is none, as usual.
func cleanText(data []byte) []byte {
	if !utf8.Valid(data) {
		data = bytes.ToValidUTF8(data, []byte("\uFFFD"))
	}
	var out []byte // nil until something is replaced
	kept := 0      // data[:kept] is in out
	for i := bytes.IndexByte(data, '\\'); i >= 0 && i+1 < len(data); {
		next := i + 2
		if data[i+1] == 'u' {
			next = i + 6
			r := escapedRune(data[i:])
			switch {
			case r == 0:
				out = append(append(out, data[kept:i]...), replacement...)
				kept = next
			case utf16.IsSurrogate(r):
				if next <= len(data) && utf16.DecodeRune(r, escapedRune(data[next:])) != utf8.RuneError {
					next += 6
					break
				}
				out = append(append(out, data[kept:i]...), replacement...)
				kept = next
			}
		}
		if next >= len(data) {
			break
		}
		step := bytes.IndexByte(data[next:], '\\')
		if step < 0 {
			break
		}
		i = next + step
	}
	if out == nil {
		return data
	}
	return append(out, data[min(kept, len(data)):]...)
}

// escapedRune reads an escape such as \u0041. It returns -1 if there is none.
func escapedRune(b []byte) rune {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return -1
		}
	}
	return r
}
