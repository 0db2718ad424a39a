// Package signing is Svix's signatures: it verifies deliveries, and signs and posts
// events as Svix does. The signature itself is the work of Svix's library; here is
// around it what the library leaves open: which secrets are refused, the tolerance of
// the clock, and the reason for every refusal.
package signing
