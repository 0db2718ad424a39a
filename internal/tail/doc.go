// Package tail lets a person follow what happens to every delivery: the processes publish
// a line for each as long as somebody watches, over core NATS.
//
// A watcher renews a short lease. Without one, an event costs a process one atomic load.
// The lines have ids and no personal data; they are neither stored nor complete: of too
// many only the number is told. What is counted exactly is in /metrics.
package tail
