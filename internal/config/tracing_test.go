package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clerksync/clerksync/internal/config"
)

// TestTracesURL: where the variables of OpenTelemetry say.
func TestTracesURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		config.Tracing
		want string
	}{
		{config.Tracing{}, ""},
		{config.Tracing{OTLPEndpoint: "http://collector:4318"}, "http://collector:4318/v1/traces"},
		{config.Tracing{OTLPEndpoint: "https://collector/otlp/"}, "https://collector/otlp/v1/traces"},
		{config.Tracing{OTLPTracesEndpoint: "http://collector:4318/v1/traces"}, "http://collector:4318/v1/traces"},
		{config.Tracing{OTLPTracesEndpoint: "http://collector/take", OTLPEndpoint: "http://other"}, "http://collector/take"},
		{config.Tracing{OTLPTracesEndpoint: "http://collector/take", OTLPEndpoint: "http://other", OTelDisabled: true}, ""},
	} {
		require.Equal(t, tt.want, tt.TracesURL())
	}
}

// TestEndpointsOfTraces: what cannot be one is refused, and not shown.
func TestEndpointsOfTraces(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"hidden:4318", "hidden", "http://", "grpc://hidden:4317", "http://hidden\x7f"} {
		c := usable()
		c.OTLPEndpoint, c.OTLPTracesEndpoint = bad, bad
		require.Equal(t, config.Faults{
			{Variable: "OTEL_EXPORTER_OTLP_ENDPOINT", Text: "not of the form http://host:4318"},
			{Variable: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", Text: "not of the form http://host:4318/v1/traces"},
		}, c.Validate(both))
		c.OTelDisabled = true
		require.NoError(t, c.Validate(both))
	}
	c := usable()
	c.OTLPEndpoint, c.OTLPTracesEndpoint = "http://127.0.0.1:4318", "https://collector.example/v1/traces"
	require.NoError(t, c.Validate(both))
}
