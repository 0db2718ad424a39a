package signing

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func encoded(bytes int) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("kE9#", 20)[:bytes]))
}

func TestCheckSecret(t *testing.T) {
	t.Parallel()
	const (
		prefix = "a signing secret begins with whsec_"
		text   = "what follows whsec_ is not base64: was it copied whole?"
	)
	for secret, want := range map[string]string{
		"":                            prefix,
		"whsec":                       prefix,
		encoded(24):                   prefix,
		"WHSEC_" + encoded(24):        prefix,
		" whsec_" + encoded(24):       prefix,
		"sk_test_" + encoded(24):      prefix,
		"whsk_" + encoded(64):         prefix,
		"whsec_":                      "the signing secret has 0 bytes, at least 24 are needed: was it copied whole?",
		"whsec_" + encoded(1):         "the signing secret has 1 bytes, at least 24 are needed: was it copied whole?",
		"whsec_" + encoded(23):        "the signing secret has 23 bytes, at least 24 are needed: was it copied whole?",
		"whsec_" + encoded(25)[:34]:   text, // unpadded
		"whsec_" + encoded(24)[:31]:   text, // the last character lost
		"whsec_" + encoded(24) + "=":  text,
		"whsec_" + encoded(24) + " ":  text,
		"whsec_" + encoded(24)[1:]:    text,
		"whsec_whsec_" + encoded(24):  text,
		"whsec_your-signing-secret":   text,
		"whsec_" + encoded(24) + ",x": text,
	} {
		err := CheckSecret(secret)
		require.EqualError(t, err, want, secret)
		if rest := secret[strings.LastIndexByte(secret, '_')+1:]; len(rest) > 5 {
			require.NotContains(t, err.Error(), rest[:6], "the secret is in the text")
		}
	}
	for _, bytes := range []int{24, 25, 26, 32, 64, 75} {
		require.NoError(t, CheckSecret("whsec_"+encoded(bytes)))
	}
	require.NoError(t, CheckSecret(NewSecret()))
}
