package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	// flushTimeout is how long a stop waits for the collector to take what is left.
	flushTimeout = 3 * time.Second

	// maxValue bounds an attribute, unless OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT does. The
	// longest that is meant to be there is a svix-id.
	maxValue = 256
)

// Options say where spans go, and from whom.
type Options struct {
	URL     string // of the collector's traces, over HTTP: http://host:4318/v1/traces
	Version string // of clerksync
	Logger  *slog.Logger
}

// Provider collects spans and sends them to a collector, when it takes them, from a
// queue that drops what it has no room for.
type Provider struct {
	*sdktrace.TracerProvider
	exporter *exporter
}

// Start makes a provider, which needs no collector yet. All but the options is told by
// OpenTelemetry's own variables, which the SDK and its exporter read: headers,
// certificates, compression, sampler, queue, resource.
func Start(ctx context.Context, o Options) (*Provider, error) {
	// What comes first gives way to OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
	from, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "clerksync"), attribute.String("service.version", o.Version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("start traces: %w; is OTEL_RESOURCE_ATTRIBUTES of the form name=value,name=value?", err)
	}
	otlp, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(o.URL))
	if err != nil {
		return nil, fmt.Errorf("start traces: %w", err)
	}
	e := newExporter(otlp, o.Logger)
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = maxValue
	}
	return &Provider{exporter: e, TracerProvider: sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(e), sdktrace.WithResource(from), sdktrace.WithRawSpanLimits(limits))}, nil
}

// Stop sends what is left, for a few seconds at most and not longer than ctx lasts, and
// drops the rest. It can be called again.
func (p *Provider) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, p.exporter.cut)()
	// It returns soon after the cut; with ctx it would leave its goroutine behind.
	return p.Shutdown(context.WithoutCancel(ctx))
}
