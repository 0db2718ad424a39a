// Package replay applies stored events again: events of the log that a filter selects, or
// dead letters. It runs a projector of its own, concurrently with the workers, publishes
// nothing that is in the log already, and counts the outcomes. Verify and restore are
// built on it.
package replay
