// Package app assembles clerksync: it starts the parts that the roles of a process need,
// in order, and stops them in reverse order. The data folder is here too, by which
// commands find a running process.
package app
