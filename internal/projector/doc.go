// Package projector turns the event log into rows: it takes stored events in batches,
// has the store apply them, and settles them afterwards.
//
// It retries a batch for as long as that may help, and parks an event that can never be
// applied as a dead letter. It does not order events: the store does.
package projector
