// Package bench measures the whole way from the webhook to the row, always
// against something that is measured in the same run. See BENCHMARKS.md.
package bench
