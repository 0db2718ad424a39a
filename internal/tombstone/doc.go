// Package tombstone is what can be done about the deleted: to erase a person, whose
// events leave the event log and the dead letters while the tombstone stays, and to
// restore what was deleted by mistake, as long as the log still has its events.
package tombstone
