package eventlog

import (
	"context"
	"sync"

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
