package receiver

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func encoded(bytes int) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat("kE9#", 20)[:bytes]))
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Options{
		"no signing secret": {},
		"signing secret 1: a signing secret begins with whsec_":                                           {Secrets: []string{"hunter2hunter2"}},
		"signing secret 2: the signing secret has 18 bytes, at least 24 are needed: was it copied whole?": {Secrets: []string{secretA, "whsec_" + encoded(18)}},
		`not a glob of event types such as user.* or session.created: "["`:                                {Secrets: []string{secretA}, Store: []string{"user.*", "["}},
		`not a glob of event types such as user.* or session.created: ""`:                                 {Secrets: []string{secretA}, Store: []string{""}},
	} {
		o.Registry = prometheus.NewRegistry()
		_, err := New(o)
		require.EqualError(t, err, want)
		families, err := o.Registry.(*prometheus.Registry).Gather()
		require.NoError(t, err)
		require.Empty(t, families, "a New that failed leaves nothing behind")
	}
}
