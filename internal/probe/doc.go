// Package probe tests the whole way of an event: it posts a signed event to the public
// URL, as Svix would, and follows it until a worker has settled it. The result is the
// time of every hop, or where the probe stopped, why, and a fix. A probe changes no table.
package probe
