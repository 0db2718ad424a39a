// Package archive exports and imports stored events: a [Writer] and a [Reader] of files
// with one event a line, as JSON, compressed with zstd or not; an [Admission] that checks
// events; an [Ingest] that stores the events missing from the log.
package archive
