// Package tracing follows a delivery with spans of OpenTelemetry, from the request
// through the stored event to the transaction, and sends them to a collector.
//
// It knows no events: what a span says is handed to it one by one, so that nothing of
// a payload, and no id of a person, gets to a collector. It has no part in what
// clerksync does: with no collector, or one that is away, nothing is slower and
// nothing fails.
package tracing
