package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// maxShown bounds the indented body that is shown, in bytes.
const maxShown = 64 << 10

// bodyJSON is a body as text.
type bodyJSON struct {
	Text  string `json:"text"`
	Bytes int    `json:"bytes"` // of the whole body, as it was received
	Cut   bool   `json:"cut"`
	JSON  bool   `json:"json"` // it was indented
}

func showBody(body []byte) bodyJSON {
	text, err := indent(body)
	b := bodyJSON{Bytes: len(body), Cut: errors.Is(err, errCut), JSON: err == nil || errors.Is(err, errCut)}
	if !b.JSON { // as it is
		text, b.Cut = body[:min(len(body), maxShown)], len(body) > maxShown
	}
	b.Text = printable(text)
	return b
}

var errCut = errors.New("cut")

// indent indents JSON up to maxShown bytes: indentation makes a deeply nested body large.
func indent(body []byte) ([]byte, error) {
	out := &limited{}
	dec := jsontext.NewDecoder(bytes.NewReader(body), jsontext.AllowDuplicateNames(true))
	enc := jsontext.NewEncoder(out, jsontext.AllowDuplicateNames(true), jsontext.PreserveRawStrings(true), jsontext.WithIndent("  "))
	for {
		token, err := dec.ReadToken()
		if err == io.EOF {
			return bytes.TrimSpace(out.Bytes()), nil
		}
		if err != nil {
			return nil, err
		}
		if err := enc.WriteToken(token); err != nil {
			return out.Bytes(), err
		}
	}
}

// limited accepts maxShown bytes.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if room := maxShown - l.Len(); len(p) > room {
		l.Buffer.Write(p[:room])
		return room, errCut
	}
	return l.Buffer.Write(p)
}

// printable escapes characters that are invisible or change the direction of the text.
func printable(text []byte) string {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
		text = text[size:]
	}
	return b.String()
}
