// Package disk reads how much space a disk has free. How much is too little is for its
// callers to decide.
package disk

// TestOnlyFree, if it is set, answers for [Free].
var TestOnlyFree func(dir string) (bytes uint64, ok bool)

// Free returns how many bytes this process can still write to the disk of a folder, and
// false when that is not known.
func Free(dir string) (bytes uint64, ok bool) {
	if TestOnlyFree != nil {
		return TestOnlyFree(dir)
	}
	return free(dir)
}
