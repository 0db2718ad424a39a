package tracing_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/clerksync/clerksync/internal/tracing"
)

// TestOffCostsNothing: no allocation. Not parallel, because others would count.
func TestOffCostsNothing(t *testing.T) {
	var off *tracing.Tracer
	delivered := time.Now()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		ctx, receiving := off.Receive(t.Context())
		receiving.Verified("msg_1", "user.created")
		ctx, storing := off.Store(ctx)
		if storing.Traceparent() != "" {
			t.Fatal("a trace")
		}
		storing.End(1, nil)
		receiving.End("stored", 204)
		_, applying := off.Apply(ctx, 500)
		applying.Link("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
		applying.End(tracing.Committed)
		off.Project(tracing.Projected{Seq: 1, Deliveries: 1, DeliveredAt: delivered, Outcome: "applied", Applying: applying})
	}))
}

func BenchmarkOff(b *testing.B) {
	var off *tracing.Tracer
	b.ReportAllocs()
	for b.Loop() {
		ctx, receiving := off.Receive(b.Context())
		_, storing := off.Store(ctx)
		storing.End(1, nil)
		receiving.End("stored", 204)
		off.Project(tracing.Projected{Seq: 1, Outcome: "applied"})
	}
}

// TestLinksAreBounded: a batch can hold 5,000 events.
func TestLinksAreBounded(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	tracer := tracing.New(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
	_, applying := tracer.Apply(t.Context(), 5000)
	for i := range 5000 {
		applying.Link(fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e4736-%016x-01", i+1))
	}
	applying.End(tracing.Committed)
	span := recorder.Ended()[0]
	require.Len(t, span.Links(), 128)
	require.Zero(t, span.DroppedLinks())
	require.EqualValues(t, 5000, attributes(span)["clerksync.events"])
}

// TestFailuresAreSeen: a 5xx, and an event that was not stored, without its error.
func TestFailuresAreSeen(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	tracer := tracing.New(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)))
	ctx, receiving := tracer.Receive(t.Context())
	_, storing := tracer.Store(ctx)
	storing.End(0, errors.New("nats://user:hidden@host"))
	receiving.End("unavailable", 503)
	_, refused := tracer.Receive(t.Context())
	refused.End("unauthorized", 401)

	spans := recorder.Ended()
	require.Equal(t, sdktrace.Status{Code: codes.Error, Description: "the event was not stored"}, spans[0].Status())
	require.Empty(t, spans[0].Attributes())
	require.Equal(t, codes.Error, spans[1].Status().Code)
	require.Equal(t, codes.Unset, spans[2].Status().Code)
}
