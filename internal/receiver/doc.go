// Package receiver is the webhook endpoint: it verifies a delivery, stores it in the event
// log, and only then answers. It does not depend on PostgreSQL.
package receiver
