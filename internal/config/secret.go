package config

import (
	"fmt"
	"log/slog"
	"strings"
)

// Secret is a value that is never printed: in whatever way it is formatted,
// logged or encoded, it says [redacted]. Reveal is the one way to it.
type Secret string

const redacted = "[redacted]"

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format implements fmt.Formatter. A Stringer alone is passed over by verbs that
// are not for strings: %d would print the value, in its complaint.
func (s Secret) Format(f fmt.State, verb rune) {
	fmt.Fprintf(f, fmt.FormatString(f, verb), s.String())
}

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. What surrounds a secret that
// was copied, a space after the comma or the end of a line, is not part of it.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(strings.TrimSpace(string(text)))
	return nil
}
