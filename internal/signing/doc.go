// Package signing verifies deliveries of Svix and signs events as Svix does. Svix's library
// computes the signatures; this package adds what it leaves open: the secrets that are
// refused, the tolerance of the clock, and a reason for every refusal.
package signing
