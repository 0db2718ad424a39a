// Package archive is the form in which stored events leave the log and come back
// into it: one event a line, as JSON, compressed with zstd or not. It knows what a
// line looks like. Whether an event is to be believed is for those who read it.
package archive
