// Package projector turns the event log into rows: it takes stored events in
// batches, has the store apply them, and settles them afterwards.
//
// It decides what becomes of an event that cannot be applied: tried again for as
// long as that may help, parked as a dead letter when it never will. The order of
// events is none of its business: that is decided in the store.
package projector
