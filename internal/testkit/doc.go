// Package testkit starts the real PostgreSQL and event logs of the tests, and generates
// events and histories of a Clerk instance. It is never linked into the program.
package testkit
