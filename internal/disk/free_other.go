//go:build !linux && !darwin

package disk

// Free returns false: the space is not known on this platform.
func Free(string) (bytes uint64, ok bool) { return 0, false }
