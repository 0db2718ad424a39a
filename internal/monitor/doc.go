// Package monitor is what an operator sees of a running clerksync: health,
// readiness and metrics, on the admin listener.
package monitor
