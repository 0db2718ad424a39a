package eventlog

import (
	"github.com/clerksync/clerksync/internal/clerk"
)

// CommitGroup commits events as one group, as if they had been waiting together,
// and returns what their Append calls would.
func (l *Log) CommitGroup(events ...*clerk.Event) ([]Stored, []error) {
	group := make([]*pending, len(events))
	for i, e := range events {
		group[i] = &pending{msg: newMsg(Subject, e), done: make(chan result, 1)}
	}
	l.commit(group)
	stored, errs := make([]Stored, len(events)), make([]error, len(events))
	for i, p := range group {
		r := <-p.done
		stored[i], errs[i] = r.stored, r.err
	}
	return stored, errs
}

// Atomic tells whether groups are committed as atomic batches.
func (l *Log) Atomic() bool { return l.atomic }
