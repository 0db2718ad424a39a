package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Zoë 🦊\n  {}":            "Zoë 🦊\n  {}",
		"\x1b[31m\r\t\x00\x7f":   `\u001b[31m\u000d\u0009\u0000\u007f`,
		"\u009b31m\u202e\u2028é": `\u009b31m\u202e\u2028é`,
		"\xff \xf0\x9d":          `\xff \xf0\x9d`,
		"\U000e0001\uFFFD":       "\\U000e0001\uFFFD",
	} {
		require.Equal(t, want, printable(text))
	}
}
