package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// maxLinks bounds the links from a batch to its events. Every event links to its batch.
const maxLinks = 128

// The results of a transaction.
const (
	Committed = "committed"
	Refused   = "refused" // PostgreSQL refused an event
	Failed    = "failed"  // will be retried
)

// Applying is the span of a transaction. Its events belong to many traces, so it is the
// root of its own, linked with theirs.
type Applying struct {
	span  trace.Span
	links int
	ended time.Time
}

// Apply starts the span of a transaction with a number of events.
func (t *Tracer) Apply(ctx context.Context, events int) (context.Context, *Applying) {
	if t == nil {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, "apply", trace.WithNewRoot(), trace.WithAttributes(keyEvents.Int(events)))
	return ctx, &Applying{span: span}
}

// Link links the span to the trace of an event, up to maxLinks.
func (a *Applying) Link(traceparent string) {
	if a == nil || traceparent == "" || a.links == maxLinks {
		return
	}
	if event := parse(traceparent); event.IsValid() {
		a.span.AddLink(trace.Link{SpanContext: event})
		a.links++
	}
}

// End ends the span.
func (a *Applying) End(outcome string) {
	if a == nil {
		return
	}
	a.ended = time.Now()
	a.span.SetAttributes(keyOutcome.String(outcome))
	if outcome != Committed {
		a.span.SetStatus(codes.Error, "")
	}
	a.span.End(trace.WithTimestamp(a.ended))
}

// Projected describes a settled event.
type Projected struct {
	Traceparent string // as stored
	Seq         uint64 // in the event log
	Deliveries  uint64 // from the log to a worker
	DeliveredAt time.Time
	Outcome     string
	Applying    *Applying // the transaction that applied it, nil when there was none
}

// Project records the span of an event from its delivery to the commit, as a child of the
// span in which it was stored. An event without a trace gets none.
func (t *Tracer) Project(p Projected) {
	if t == nil || p.Traceparent == "" {
		return
	}
	parent := parse(p.Traceparent)
	if !parent.IsValid() {
		return
	}
	start := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(p.DeliveredAt),
		trace.WithAttributes(keySeq.Int64(int64(p.Seq)), keyDeliveries.Int64(int64(p.Deliveries)), keyOutcome.String(p.Outcome)),
	}
	ended := time.Now()
	if p.Applying != nil {
		start = append(start, trace.WithLinks(trace.Link{SpanContext: p.Applying.span.SpanContext()}))
		ended = p.Applying.ended
	}
	_, span := t.tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), parent), "project", start...)
	span.End(trace.WithTimestamp(ended))
}
