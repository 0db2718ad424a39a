// Package disk reads how much space a disk has free. How much is too little is for its
// callers to decide.
package disk
