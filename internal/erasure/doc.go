// Package erasure removes personal data: it reduces the row of a user to its ids and
// removes the events that name the person from the event log and the dead letters, at once
// or some time after a delete. The tombstone stays, so that a late event does not restore
// the row.
package erasure
