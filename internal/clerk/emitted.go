package clerk

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// EmittedAt replaces the timestamp of a body by another, given in Unix milliseconds and
// written in the unit that the body has. All else stays byte for byte, and so does a body
// without a timestamp.
func EmittedAt(body []byte, at int64) []byte {
	dec := jsontext.NewDecoder(bytes.NewReader(body), strict)
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '{' {
		return body
	}
	for dec.PeekKind() == '"' {
		key, err := dec.ReadToken()
		if err != nil {
			return body
		}
		isTimestamp := key.String() == "timestamp" // the next read overwrites the key
		value, err := dec.ReadValue()
		if err != nil {
			return body
		}
		if !isTimestamp {
			continue
		}
		was, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			return body
		}
		if was < secondsBelow {
			at /= 1000
		}
		end := int(dec.InputOffset())
		return slices.Concat(body[:end-len(value)], strconv.AppendInt(nil, at, 10), body[end:])
	}
	return body
}
