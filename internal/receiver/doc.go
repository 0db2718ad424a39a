// Package receiver is Clerk's webhook endpoint: it verifies a delivery, stores it
// in the event log, and only then answers.
//
// It knows nothing of what becomes of an event later, and has no need of
// PostgreSQL.
package receiver
