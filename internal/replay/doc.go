// Package replay applies stored events once more: those of the log that a filter
// selects, or dead letters. It hands them to the projector, beside the one that is at
// work on the log, publishes nothing that is in the log already, and counts what
// became of them. Built on it is the proof that the tables are what the log says.
package replay
