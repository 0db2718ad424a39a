package tracing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/clerksync/clerksync/internal/testkit"
)

// failing is an exporter that always fails.
type failing struct {
	sdktrace.SpanExporter
	err error
}

func (f failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return f.err }

// TestComplaintsAreOneAMinute: with the spans lost since the last.
func TestComplaintsAreOneAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := newExporter(failing{err: errors.New("away")}, slog.New(slog.NewTextHandler(&log, nil)))
		defer e.cut()
		for range 181 { // three minutes
			require.NoError(t, e.ExportSpans(t.Context(), make([]sdktrace.ReadOnlySpan, 2)))
			testkit.Pass(time.Second)
		}
		var lost []string
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(line, `msg="the collector does not take traces, they are lost" `)
			lost = append(lost, strings.TrimSpace(line))
		}
		require.Equal(t, []string{"spans=2 err=away", "spans=120 err=away", "spans=120 err=away", "spans=120 err=away"}, lost)
	})
}

// TestReason: without the collector's answer and the URL.
func TestReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&url.Error{Op: "Post", URL: "http://host/hidden", Err: errors.New("dial tcp 127.0.0.1:1: connect: connection refused")}, "dial tcp 127.0.0.1:1: connect: connection refused"},
		{errors.New("failed to send to http://host/hidden: 401 Unauthorized (body: hidden)"), "401 Unauthorized"},
		{errors.New("failed to send to http://host/hidden: 404 Not Found (body: failed to send to hidden: )"), "404 Not Found"},
		{errors.New("max retry time elapsed: retry-able request failure: body: hidden"), "max retry time elapsed: retry-able request failure"},
		{errors.New("OTLP partial success: hidden (3 spans rejected)"), "some of the spans were rejected"},
		{context.DeadlineExceeded, "context deadline exceeded"},
	} {
		require.Equal(t, tt.want, reason(fmt.Errorf("traces export: %w", errors.Join(nil, tt.err))))
	}
}
