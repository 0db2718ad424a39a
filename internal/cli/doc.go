// Package cli is the command line: one file for each command. Only this package
// reads flags and the environment, and only its errors are read by people, so
// they say what to do next.
package cli
