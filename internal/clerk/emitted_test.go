package clerk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEmittedAt: only the timestamp changes, in its unit, and nothing that is no timestamp.
func TestEmittedAt(t *testing.T) {
	t.Parallel()
	const at = 1800000000123
	for body, want := range map[string]string{
		`{"type":"user.created","timestamp":1768208400426,"data":{"timestamp":1}}`:      `{"type":"user.created","timestamp":1800000000123,"data":{"timestamp":1}}`,
		"{ \"data\" : {\"timestamp\": 5},\n \"timestamp\" :\t1716883200 ,\"a\":1.0 }\n": "{ \"data\" : {\"timestamp\": 5},\n \"timestamp\" :\t1800000000 ,\"a\":1.0 }\n",
		`{"timestamp":"soon"}`:                        `{"timestamp":"soon"}`,
		`{"timestamp":1.5}`:                           `{"timestamp":1.5}`,
		`{"data":"\ud800","timestamp":1768208400426}`: `{"data":"\ud800","timestamp":1800000000123}`,
		`{"data":{}}`:                                 `{"data":{}}`,
		`{"timestamp":1,`:                             `{"timestamp":1800000000,`,
		`{"data":`:                                    `{"data":`,
		`[1]`:                                         `[1]`,
		``:                                            ``,
	} {
		require.Equal(t, want, string(EmittedAt([]byte(body), at)))
	}
}

// TestEmittedAtOfTheSamples: whatever is in them.
func TestEmittedAtOfTheSamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../testdata/events/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		body, err := os.ReadFile(file)
		require.NoError(t, err)
		before, err := ParseEnvelope(body)
		require.NoError(t, err, file)
		after, err := ParseEnvelope(EmittedAt(body, 1800000000000))
		require.NoError(t, err, file)
		require.EqualValues(t, 1800000000000, after.EventAt, file)
		after.EventAt = before.EventAt
		require.Equal(t, before, after, file)
	}
}
