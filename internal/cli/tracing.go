package cli

import (
	"context"
	"log/slog"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
)

// captureOpenTelemetry sends the messages of OpenTelemetry's SDK to the log, which is a
// setting of the whole process. By default they go to standard error, and quote a variable
// that cannot be parsed: OTEL_EXPORTER_OTLP_HEADERS has secrets in it.
func captureOpenTelemetry(logger *slog.Logger) {
	logger = logger.With("component", "opentelemetry")
	otel.SetLogger(logr.FromSlogHandler(messageOnly{logger.Handler()}))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("OpenTelemetry reported an error", "err", err)
	}))
}

// messageOnly is a handler that drops all attributes.
type messageOnly struct {
	slog.Handler
}

func (h messageOnly) Handle(ctx context.Context, r slog.Record) error {
	return h.Handler.Handle(ctx, slog.NewRecord(r.Time, r.Level, r.Message, r.PC))
}

func (h messageOnly) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h messageOnly) WithGroup(string) slog.Handler { return h }
