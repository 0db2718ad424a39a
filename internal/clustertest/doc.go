// Package clustertest tests deployments of several processes: a NATS cluster whose nodes
// fail, restarts and migrations while webhooks arrive. It has only tests.
package clustertest
