package eventlog

import (
	"slices"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Types are globs for what the log can hold but probes, for a [Filter]: nil, which is
// everything, when that is not known.
func (l *Log) Types() []string {
	if slices.Contains(l.resources, anyResource) {
		return nil
	}
	probes, _ := clerk.SplitType(clerk.ProbeType)
	var globs []string
	for _, resource := range l.resources {
		if resource != probes {
			globs = append(globs, resource+".*")
		}
	}
	return globs
}
