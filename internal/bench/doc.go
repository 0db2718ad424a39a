// Package bench has benchmarks of the whole way from the webhook to the row, each against a
// peer measured in the same run. See BENCHMARKS.md.
package bench
