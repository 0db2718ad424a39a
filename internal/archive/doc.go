// Package archive is how stored events leave the log and how events that no webhook
// brought come into it: a [Writer] and a [Reader] of files with one event a line, as
// JSON, compressed with zstd or not; an [Admission] that checks them; an [Ingest] that
// stores what the log does not have.
package archive
