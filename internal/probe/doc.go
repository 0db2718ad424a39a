// Package probe looks whether the way is open: it sends a signed event through the
// public URL, as Svix would, and follows it until the worker has passed it. It says how
// long every hop took, or where it stopped, why, and how to fix it.
//
// Nothing is made of a probe but time: no table is touched.
package probe
