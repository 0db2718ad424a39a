package cli

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProgressIsForTerminals(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	bar := (&local{}).progress(&session{stderr: &stderr}, 10, "replayed")
	for n := range uint64(11) {
		bar.set(n)
	}
	bar.finish()
	bar.finish()
	require.Empty(t, stderr.String())
}
