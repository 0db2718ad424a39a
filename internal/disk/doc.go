// Package disk reads how much room a disk has. It decides nothing: what is too
// little depends on who writes there.
package disk
