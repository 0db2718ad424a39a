// Package tracing traces a delivery with OpenTelemetry, from the request through the
// stored event to the transaction.
//
// It never sees an event: callers pass each attribute, so that no payload and no id of a
// person reaches a collector. Without a collector, or while it is down, nothing slows
// down and nothing fails.
package tracing
