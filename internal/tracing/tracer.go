package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Header is the header of a stored event with its trace context, as defined by the W3C.
const Header = "traceparent"

// The attributes of spans.
const (
	keyEventType  = attribute.Key("clerksync.event_type")
	keySvixID     = attribute.Key("clerksync.svix_id")
	keySeq        = attribute.Key("clerksync.seq") // in the event log
	keyDeliveries = attribute.Key("clerksync.deliveries")
	keyOutcome    = attribute.Key("clerksync.outcome")
	keyEvents     = attribute.Key("clerksync.events") // in a batch
	keyStatus     = attribute.Key("http.response.status_code")
)

// Tracer starts spans. A nil Tracer starts none and costs nothing.
type Tracer struct {
	tracer trace.Tracer
}

// New returns a tracer.
func New(provider trace.TracerProvider) *Tracer {
	return &Tracer{provider.Tracer("github.com/clerksync/clerksync")}
}

// Receiving is the span of a request to the endpoint.
type Receiving struct {
	span trace.Span
}

// Receive starts the span of a request and a new trace: a trace context in the request
// comes from the internet and is not trusted.
func (t *Tracer) Receive(ctx context.Context) (context.Context, *Receiving) {
	if t == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, "receive", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
	return ctx, &Receiving{span}
}

// Verified adds the event, once its signature is verified.
func (r *Receiving) Verified(svixID, eventType string) {
	if r != nil {
		r.span.SetAttributes(keySvixID.String(svixID), keyEventType.String(eventType))
	}
}

// End ends the span with the answer.
func (r *Receiving) End(outcome string, status int) {
	if r == nil {
		return
	}
	r.span.SetAttributes(keyOutcome.String(outcome), keyStatus.Int(status))
	if status >= 500 { // below, the client is at fault
		r.span.SetStatus(codes.Error, "")
	}
	r.span.End()
}

// Storing is the span of storing an event.
type Storing struct {
	span trace.Span
}

// Store starts the span of storing an event, as a child of its request's.
func (t *Tracer) Store(ctx context.Context) (context.Context, *Storing) {
	if t == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, "store", trace.WithSpanKind(trace.SpanKindProducer))
	return ctx, &Storing{span}
}

// Traceparent returns the trace context to store with the event, "" without tracing or
// when the sampler dropped the trace.
func (s *Storing) Traceparent() string {
	if s == nil || !s.span.SpanContext().IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), s.span), carrier)
	return carrier.Get(Header)
}

// End ends the span. The event is stored at seq, unless err is not nil.
func (s *Storing) End(seq uint64, err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, "the event was not stored")
	} else {
		s.span.SetAttributes(keySeq.Int64(int64(seq)))
	}
	s.span.End()
}

// parse reads a value of Traceparent. Anything else gives an invalid context.
func parse(traceparent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{Header: traceparent})
	return trace.SpanContextFromContext(ctx)
}
