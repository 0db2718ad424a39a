package eventlog

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// CommitGroup commits events as one group and returns the results of their Append calls.
func (l *Log) CommitGroup(events ...*clerk.Event) ([]Stored, []error) {
	group := l.opened.Load().group
	if group == nil || l.disk != nil {
		return l.appendAtOnce(events)
	}
	all := make([]*pending, len(events))
	for i, e := range events {
		all[i] = &pending{msg: newMsg(Subject, e), done: make(chan result, 1)}
	}
	group.commitGroup(all)
	stored, errs := make([]Stored, len(events)), make([]error, len(events))
	for i, p := range all {
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

// RetryLikeACluster makes a log on one server retry as one on a cluster does.
func RetryLikeACluster(o Options) Options {
	o.testOnlyReplicated = true
	return o
}

// Atomic reports whether groups are committed as atomic batches.
func (l *Log) Atomic() bool { return l.opened.Load().group != nil && l.disk == nil }

// Subjects returns the subjects to read.
func (f *Filter) Subjects(prefix string, resources []string) []string {
	return f.subjects(prefix, resources)
}

// Exact reports whether the server alone does the filter's work.
func (f *Filter) Exact() bool { return f.exact() }

// ResourcesOf returns the resources that globs of event types let into the log.
func ResourcesOf(globs ...string) []string { return resourcesOf(globs) }

// Resources returns the resources that the log can hold.
func (l *Log) Resources() []string { return l.resources() }

// SetPatience sets how long a scan waits for a server that sends nothing. It asks the
// server a few times in between.
func (s *Scan) SetPatience(d time.Duration) {
	for _, c := range s.cursors {
		c.reader.patience, c.reader.idle = d, d/4
	}
}

// ForgetConsumers deletes the consumers of a scan, as the server does with idle ones.
func (s *Scan) ForgetConsumers(ctx context.Context) error {
	for _, c := range s.cursors {
		err := c.reader.stream.DeleteConsumer(ctx, c.consumer.CachedInfo().Name)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
	}
	return nil
}

// ErrorCodes are the declared error codes, by the server's identifier.
var ErrorCodes = map[string]jetstream.ErrorCode{
	"JSAccountResourcesExceededErr":   codeAccountResourcesExceeded,
	"JSClusterNoPeersErrF":            codeClusterNoPeers,
	"JSInsufficientResourcesErr":      codeInsufficientResources,
	"JSMaximumStreamsLimitErr":        codeMaximumStreams,
	"JSMaximumConsumersLimitErr":      codeMaximumConsumers,
	"JSStorageResourcesExceededErr":   codeStorageExceeded,
	"JSStreamInvalidConfigF":          codeInvalidConfig,
	"JSStreamSubjectOverlapErr":       codeSubjectOverlap,
	"JSStreamReplicasNotSupportedErr": codeReplicasNotSupported,
	"JSStreamMaxBytesRequired":        codeMaxBytesRequired,
	"JSStreamMaxStreamBytesExceeded":  codeMaxStreamBytesExceeded,
}
