package token

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The results of tokens that are taken. Those refused count by their code.
const (
	resultVerified = "verified"
	resultCached   = "cached"
)

type instruments struct {
	tokens   *prometheus.CounterVec
	requests *prometheus.CounterVec
}

func newInstruments(registry prometheus.Registerer) *instruments {
	f := promauto.With(registry)
	m := &instruments{
		tokens: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_tokens_total",
			Help: "Tokens of requests, by result: verified, cached (verified before), or why they were refused.",
		}, []string{"result"}),
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clerksync_jwks_requests_total",
			Help: "Requests to Clerk for the keys that sign tokens, by result.",
		}, []string{"result"}),
	}
	for _, result := range []string{
		resultVerified, resultCached, string(Missing), string(Invalid), string(Expired), string(Category), string(AudienceMismatch), string(KeysUnavailable),
	} {
		m.tokens.WithLabelValues(result)
	}
	for _, result := range []string{"ok", "failed"} {
		m.requests.WithLabelValues(result)
	}
	return m
}
