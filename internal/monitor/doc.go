// Package monitor is what an operator sees of a running clerksync: how far the rows are
// behind Clerk and why, health, readiness and metrics, on the admin listener. It asks,
// and changes nothing; what it looks like is the dashboard's.
package monitor
