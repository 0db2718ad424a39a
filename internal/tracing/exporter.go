package tracing

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// complainEvery is the time between two warnings about a failing collector.
const complainEvery = time.Minute

// exporter logs the failures of another exporter. The SDK would print each of them, with
// the collector's answer, to standard error.
type exporter struct {
	sdktrace.SpanExporter
	logger *slog.Logger

	stopping context.Context // cancels an export in progress
	cut      context.CancelFunc

	// The SDK exports in one goroutine at a time.
	lost       int // spans since the last warning
	complained time.Time
}

func newExporter(to sdktrace.SpanExporter, logger *slog.Logger) *exporter {
	e := &exporter{SpanExporter: to, logger: logger}
	e.stopping, e.cut = context.WithCancel(context.Background())
	return e
}

// ExportSpans implements sdktrace.SpanExporter. Spans that cannot be exported are dropped
// without an error.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.stopping, cancel)()
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.complain(len(spans), err)
	}
	return nil
}

func (e *exporter) complain(lost int, err error) {
	e.lost += lost
	if now := time.Now(); now.Sub(e.complained) >= complainEvery {
		why := reason(err)
		if e.stopping.Err() != nil {
			why = "not taken before the stop"
		}
		e.logger.Warn("the collector does not take traces, they are lost", "spans", e.lost, "err", why)
		e.lost, e.complained = 0, now
	}
}

// reason returns why an export failed, without the collector's answer: it may repeat a
// header, which can be a secret.
func reason(err error) string {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err.Error()
	}
	text, _, _ := strings.Cut(err.Error(), "body: ")
	if _, sent, ok := strings.Cut(text, "failed to send to "); ok {
		_, text, _ = strings.Cut(sent, ": ") // after the URL, the status
	}
	if strings.Contains(text, "partial success") {
		return "some of the spans were rejected"
	}
	return strings.TrimRight(strings.TrimPrefix(text, "traces export: "), " (:")
}
