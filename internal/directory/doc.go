// Package directory is the directory API: it answers services and clients that hold a
// token of Clerk from the synced rows, each with what the user of the token may see, and
// tells gateways whether a request may pass. The token says who asks; the rows say what
// that user still is. It verifies no signature and writes nothing.
package directory
