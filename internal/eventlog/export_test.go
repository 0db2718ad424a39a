package eventlog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// CommitGroup commits events as one group, as if they had been waiting together,
// and returns what their Append calls would.
func (l *Log) CommitGroup(events ...*clerk.Event) ([]Stored, []error) {
	if l.group == nil {
		return l.appendAtOnce(events)
	}
	group := make([]*pending, len(events))
	for i, e := range events {
		group[i] = &pending{msg: newMsg(Subject, e), done: make(chan result, 1)}
	}
	l.group.commitGroup(group)
	stored, errs := make([]Stored, len(events)), make([]error, len(events))
	for i, p := range group {
		r := <-p.done
		stored[i], errs[i] = r.stored, r.err
	}
	return stored, errs
}

func (l *Log) appendAtOnce(events []*clerk.Event) ([]Stored, []error) {
	stored, errs := make([]Stored, len(events)), make([]error, len(events))
	var all sync.WaitGroup
	for i, e := range events {
		all.Go(func() { stored[i], errs[i] = l.Append(context.Background(), e) })
	}
	all.Wait()
	return stored, errs
}

// Atomic tells whether groups are committed as atomic batches.
func (l *Log) Atomic() bool { return l.group != nil }

// Subjects are the subjects that the server is asked for.
func (f *Filter) Subjects(prefix string, resources []string) []string {
	return f.subjects(prefix, resources)
}

// Exact tells whether the server alone selects what the filter says.
func (f *Filter) Exact() bool { return f.exact() }

// ResourcesOf are the resources that globs of event types let into the log.
func ResourcesOf(globs ...string) []string { return resourcesOf(globs) }

// Resources are those that the log was said to hold when it was opened.
func (l *Log) Resources() []string { return l.resources }

// SetPatience is how long a scan waits for a server that sends nothing, which it asks a
// few times meanwhile.
func (s *Scan) SetPatience(d time.Duration) {
	for _, c := range s.cursors {
		c.reading.patience, c.reading.idle = d, d/4
	}
}

// ForgetConsumers deletes what a scan reads from, as the server does with a reader
// that asks for nothing for too long.
func (s *Scan) ForgetConsumers(ctx context.Context) error {
	for _, c := range s.cursors {
		err := c.reading.stream.DeleteConsumer(ctx, c.consumer.CachedInfo().Name)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
	}
	return nil
}

// ErrorCodes are the codes of JetStream that are declared here, by the server's name.
var ErrorCodes = map[string]jetstream.ErrorCode{
	"JSAccountResourcesExceededErr":   codeAccountResourcesExceeded,
	"JSClusterNoPeersErrF":            codeClusterNoPeers,
	"JSInsufficientResourcesErr":      codeInsufficientResources,
	"JSMaximumStreamsLimitErr":        codeMaximumStreams,
	"JSStorageResourcesExceededErr":   codeStorageExceeded,
	"JSStreamInvalidConfigF":          codeInvalidConfig,
	"JSStreamSubjectOverlapErr":       codeSubjectOverlap,
	"JSStreamReplicasNotSupportedErr": codeReplicasNotSupported,
	"JSStreamMaxBytesRequired":        codeMaxBytesRequired,
	"JSStreamMaxStreamBytesExceeded":  codeMaxStreamBytesExceeded,
}
