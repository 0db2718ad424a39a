// Package alert posts the verdict of a deployment to a URL when it changes, for those who
// run no Prometheus. A process that is down sends nothing: something outside has to watch
// that it answers.
package alert
