package clerk_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/clerksync/clerksync/internal/clerk"
)

// The marks stand for what people entrusted to the application. The number's
// digits are in no position that an error could name.
const (
	mark       = "ZQXMARKZQX"
	markNumber = 7365918273659182
)

// TestErrorsSayNothingOfTheContent: they end up in logs and in the headers of
// dead letters. Marks are put into events everywhere, fields get values of other
// types, and the text is broken: no error that comes out shows a mark.
func TestErrorsSayNothingOfTheContent(t *testing.T) {
	t.Parallel()
	bodies := files(t)
	names := slices.Sorted(maps.Keys(bodies))
	var refused int
	rapid.Check(t, func(t *rapid.T) {
		var event any
		require.NoError(t, json.Unmarshal(bodies[rapid.SampledFrom(names).Draw(t, "file")], &event))
		event = marked(t, event, rapid.IntRange(1, 40).Draw(t, "rarity"))
		body, err := json.Marshal(event)
		require.NoError(t, err)
		body = broken(t, body)

		for _, err := range parse(body) {
			refused++
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
				require.NotContains(t, text, mark[1:len(mark)-1], "%s", body)
				require.NotContains(t, text, fmt.Sprint(markNumber), "%s", body)
				require.Less(t, len(text), 300, "as long as this, it must have content in it")
			}
			require.NotEmpty(t, clerk.Reason(err), "every refusal has a reason: %v", err)
		}
	})
	require.Positive(t, refused, "nothing was refused: this tested nothing")
}

// parse returns what errors a body causes on its whole way.
func parse(body []byte) (errs []error) {
	e := &clerk.Event{ID: "msg_1", Body: body}
	var err error
	if e.Envelope, err = clerk.ParseEnvelope(body); err != nil {
		errs = append(errs, err)
	}
	if err := e.Envelope.CheckIDs(); err != nil {
		errs = append(errs, err)
	}
	if _, err := clerk.ParseChange(e); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// marked puts marks into an event: into about one value of n, as strings,
// numbers, objects and arrays.
func marked(t *rapid.T, v any, n int) any {
	marks := []any{
		mark, mark + ".*>", float64(markNumber), -float64(markNumber) + .5,
		map[string]any{mark: mark},
		[]any{mark, float64(markNumber)},
		map[string]any{mark: map[string]any{"id": mark, "user_id": mark}},
	}
	if rapid.IntRange(1, n).Draw(t, "mark") == n {
		return rapid.SampledFrom(marks).Draw(t, "with")
	}
	switch v := v.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		for _, k := range keys {
			v[k] = marked(t, v[k], n)
		}
		if rapid.IntRange(1, n).Draw(t, "key") == n {
			v[mark] = rapid.SampledFrom(marks).Draw(t, "under the key")
		}
	case []any:
		for i := range v {
			v[i] = marked(t, v[i], n)
		}
	}
	return v
}

// broken breaks JSON in some places: cut off, bytes lost, changed or put in, a
// part of it twice.
func broken(t *rapid.T, body []byte) []byte {
	for range rapid.IntRange(0, 3).Draw(t, "breaks") {
		if len(body) == 0 {
			break
		}
		i := rapid.IntRange(0, len(body)-1).Draw(t, "at")
		switch rapid.IntRange(0, 5).Draw(t, "how") {
		case 0:
			body = body[:i]
		case 1:
			body = slices.Delete(slices.Clone(body), i, i+1)
		case 2:
			body = slices.Insert(slices.Clone(body), i, rapid.SampledFrom([]byte("{}[],:\"\\0x\xff\x00 \nnte-.")).Draw(t, "insert"))
		case 3:
			body = slices.Clone(body)
			body[i] = rapid.SampledFrom([]byte("{}[],:\"\\0x\xff\x00 \nnte-.")).Draw(t, "replace")
		case 4:
			j := rapid.IntRange(i, min(len(body), i+80)).Draw(t, "to")
			body = slices.Insert(slices.Clone(body), i, body[i:j]...)
		case 5:
			// A key twice.
			body = []byte(strings.Replace(string(body), `"data":{`, `"data":{"`+mark+`":1,"`+mark+`":2,`, 1))
		}
	}
	return body
}

// TestErrorsNameThePlace: without the content, that is what helps to find the
// fault.
func TestErrorsNameThePlace(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"type":"user.created","timestamp":"x"}`: "undecodable: unexpected string at /timestamp",
		`{"type":"user.created","data":[1]}`:      "undecodable: unexpected array at /data",
		`[]`:                                      "undecodable: unexpected array at the top level",
		`{"type":"user.created","data":{"id":"a","id":"b"}}`: "undecodable: a key stands twice in one object",
		`{"type":"user.created"}{}`:                          "undecodable: not JSON: fault at byte 23",
		`{"data":{}}`:                                        "no_type: type is missing or not of the form resource.action",
		`{"type":"user.created","data":{"id":"user_1","email_addresses":[{"id":true}]}}`: "undecodable: unexpected boolean at /data/email_addresses/0/id",
		`{"type":"user.created","data":{"id":"a b"}}`:                                    "unusable_id: data.id is not of the form [A-Za-z0-9_-]{1,128}",
		`{"type":"user.created","data":{}}`:                                              "no_id: data.id is missing",
		`{"type":"organizationMembership.created","data":{"id":"orgmem_1"}}`:             "no_id: a membership without data.public_user_data.user_id or data.organization.id",
	} {
		errs := parse([]byte(body))
		require.NotEmpty(t, errs, body)
		require.EqualError(t, errs[0], want, body)
	}
}
