package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Header is where the trace stands in a stored event, as the W3C wants it.
const Header = "traceparent"

// All that a span can say.
const (
	keyEventType  = attribute.Key("clerksync.event_type")
	keySvixID     = attribute.Key("clerksync.svix_id")
	keySeq        = attribute.Key("clerksync.seq") // in the event log
	keyDeliveries = attribute.Key("clerksync.deliveries")
	keyOutcome    = attribute.Key("clerksync.outcome")
	keyEvents     = attribute.Key("clerksync.events") // in a batch
	keyStatus     = attribute.Key("http.response.status_code")
)

// Tracer makes the spans. A nil one makes none, and costs nothing.
type Tracer struct {
	tracer trace.Tracer
}

// New makes a tracer of a provider.
func New(provider trace.TracerProvider) *Tracer {
	return &Tracer{provider.Tracer("github.com/clerksync/clerksync")}
}

// Receiving is the span of a request to the endpoint.
type Receiving struct {
	span trace.Span
}

// Receive begins the span of a request, and a trace with it: what the request itself
// says of a trace comes from the internet, where anybody can say anything.
func (t *Tracer) Receive(ctx context.Context) (context.Context, *Receiving) {
	if t == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, "receive", trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
	return ctx, &Receiving{span}
}

// Verified says which event it is, as soon as that can be believed.
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
	if status >= 500 { // of a server's span, what is below is the client's fault
		r.span.SetStatus(codes.Error, "")
	}
	r.span.End()
}

// Storing is the span of an event on its way into the log.
type Storing struct {
	span trace.Span
}

// Store begins the span of an event that is being stored, inside that of its request.
func (t *Tracer) Store(ctx context.Context) (context.Context, *Storing) {
	if t == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, "store", trace.WithSpanKind(trace.SpanKindProducer))
	return ctx, &Storing{span}
}

// Traceparent is what is stored with the event, for its trace to be continued. "" when
// there is nothing to continue: no tracing, or the sampler has left this one out.
func (s *Storing) Traceparent() string {
	if s == nil || !s.span.SpanContext().IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), s.span), carrier)
	return carrier.Get(Header)
}

// End ends the span: the event is stored, at seq, unless there is an error.
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

// parse reads what Traceparent wrote. Anything else makes a context that is not valid.
func parse(traceparent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{Header: traceparent})
	return trace.SpanContextFromContext(ctx)
}
