// Package erasure removes what is stored about a person: the row is reduced to its ids,
// and the events that name the person leave the event log and the dead letters, now or
// some time after a delete. The tombstone stays, so that a late event does not bring the
// person back.
package erasure
