// Package lag measures how far the rows are behind Clerk, and decides the verdict: a
// [Meter] takes a [Reading], judge makes the verdict of it, and a [Watch] takes one every
// few seconds. Here too is which workers run and how they are, and whether the event log is
// the one of the rows and has lost nothing, see [Observe].
//
// It counts nothing itself: a reading comes from the event log, the workers and PostgreSQL,
// so it is the same in every process.
package lag
