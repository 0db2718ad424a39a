// Package metrics has what several packages need for their metrics: a registry for the
// process, and one kind of histogram for every lag, so that one hop compares with
// another. Each package registers its own metrics.
package metrics
