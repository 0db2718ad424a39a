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
	// flushTimeout bounds the last export.
	flushTimeout = 3 * time.Second

	// maxValue bounds an attribute, unless OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT is set. The
	// longest one is a svix-id.
	maxValue = 256
)

// Options configure a [Provider].
type Options struct {
	URL     string // of the collector's traces, over HTTP: http://host:4318/v1/traces
	Version string // of clerksync
	Logger  *slog.Logger
}

// Provider queues spans and exports them to a collector. A full queue drops spans.
type Provider struct {
	*sdktrace.TracerProvider
	exporter *exporter
}

// Start starts a provider; the collector need not run yet. The SDK reads everything else
// from OpenTelemetry's own variables: headers, certificates, compression, sampler, queue,
// resource.
func Start(ctx context.Context, o Options) (*Provider, error) {
	// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override the first ones.
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

// Stop exports the queued spans, within flushTimeout and ctx, and drops the rest. It may
// be called more than once.
func (p *Provider) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, p.exporter.cut)()
	// It returns soon after the cancellation; given ctx it would leak its goroutine.
	return p.Shutdown(context.WithoutCancel(ctx))
}
