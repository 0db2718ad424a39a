// Package archive exports and imports stored events: a [Writer] and a [Reader] of files
// with one event a line, as JSON, compressed with zstd or not; an [Admission] that checks
// events; an [Ingest] that stores those that the log does not hold.
package archive
