// Package loadtest sends signed synthetic events to a running deployment and measures what
// it does with them: the rate that it takes, the time of its answers, and the lag until a
// worker has settled an event. It is for an operator's own deployment; internal/bench
// measures the program's parts against baselines.
package loadtest
