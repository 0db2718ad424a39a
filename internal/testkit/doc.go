// Package testkit is what the tests are made of: a real PostgreSQL and real
// event logs that the tests start themselves, signed deliveries, and histories of
// a Clerk instance. It is never part of the program.
package testkit
