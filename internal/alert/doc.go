// Package alert posts the verdict of a deployment to a URL when it changes, for a
// deployment without Prometheus. A process that is down sends nothing: something outside
// has to check that it answers.
package alert
