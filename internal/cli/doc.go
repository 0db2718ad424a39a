// Package cli is the command line: one file for each command. Only this package reads
// flags and the environment. Its errors are for people and carry the next step.
package cli
