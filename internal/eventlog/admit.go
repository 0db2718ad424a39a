package eventlog

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Admit makes the log say that events of these types can be in it, see [Filter]: to be
// called before the first of them is stored by somebody else than those who keep the
// log. It is not to be called while others use the Log.
func (l *Log) Admit(ctx context.Context, types []string) error {
	stream, err := l.js.Stream(ctx, Stream)
	if err != nil {
		return fmt.Errorf("read stream %s: %w", Stream, err)
	}
	known := readResources(stream.CachedInfo())
	resources := sortedSet(append(resourcesOf(types), known...))
	if slices.Contains(known, anyResource) || slices.Equal(resources, sortedSet(known)) {
		return nil
	}
	config := stream.CachedInfo().Config
	config.Metadata[metaResources] = strings.Join(resources, " ")
	if stream, err = l.js.UpdateStream(ctx, config); err != nil {
		return fmt.Errorf("update stream %s: %w%s", Stream, err, remedy(err))
	}
	l.resources = readResources(stream.CachedInfo())
	return nil
}
