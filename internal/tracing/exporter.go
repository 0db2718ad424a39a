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

// complainEvery is how often a collector that takes nothing is complained about.
const complainEvery = time.Minute

// exporter keeps the troubles of another one to itself: the SDK would print every
// one of them, with what the collector said, onto standard error.
type exporter struct {
	sdktrace.SpanExporter
	logger *slog.Logger

	stopping context.Context // its end cuts what is being sent short
	cut      context.CancelFunc

	// Of the one goroutine at a time in which the SDK exports.
	lost       int // spans, since the last complaint
	complained time.Time
}

func newExporter(to sdktrace.SpanExporter, logger *slog.Logger) *exporter {
	e := &exporter{SpanExporter: to, logger: logger}
	e.stopping, e.cut = context.WithCancel(context.Background())
	return e
}

// ExportSpans implements sdktrace.SpanExporter. What does not get to the collector is
// lost, and no error.
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

// reason is why spans were not taken, without what the collector has said: that may
// have a header in it, of which some are secrets.
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
