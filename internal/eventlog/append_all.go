package eventlog

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/clerk"
)

// AppendAll stores events as [Log.Append] does, with one wait for all of them: a few
// hundred at a time, of a few MB together, so that they do not hold up the webhooks.
//
// With an error some of the events can be stored nevertheless: Seq is 0 for those that are
// not known to be.
func (l *Log) AppendAll(ctx context.Context, events []*clerk.Event) ([]Stored, error) {
	o := l.opened.Load()
	if o == nil {
		return nil, errNotOpen
	}
	msgs := make([]*nats.Msg, len(events))
	for i, e := range events {
		msgs[i] = newMsg(Subject, e)
		if err := l.checkSize(msgs[i]); err != nil {
			return nil, err
		}
	}
	switch {
	case l.disk != nil:
		if err := l.disk.check(); err != nil {
			return nil, err
		}
		return l.publishAll(ctx, msgs) // not in a group: webhooks need not wait for all of them
	case o.group != nil:
		return o.group.commitAll(ctx, msgs)
	case l.replicated.Load(): // a cluster without batches: each message is sent again while there is no leader
		return l.publishEach(ctx, msgs)
	}
	return l.publishAll(ctx, msgs)
}

func (l *Log) publishAll(ctx context.Context, msgs []*nats.Msg) ([]Stored, error) {
	s, err := newSender(l)
	if err != nil {
		return nil, err
	}
	defer s.answers.Unsubscribe()
	stored, errs := s.publishAll(ctx, msgs)
	if l.disk != nil {
		if err := l.disk.force(Stream); err != nil {
			return nil, err
		}
	}
	return stored, firstOf(errs)
}

// publishEach publishes messages concurrently, each with its own retries.
func (l *Log) publishEach(ctx context.Context, msgs []*nats.Msg) ([]Stored, error) {
	stored, errs := make([]Stored, len(msgs)), make([]error, len(msgs))
	var all sync.WaitGroup
	for i, msg := range msgs {
		all.Go(func() { stored[i], errs[i] = l.publish(ctx, msg) })
	}
	all.Wait()
	return stored, firstOf(errs)
}

// commitAll stores messages in as few groups as they fit.
func (g *grouper) commitAll(ctx context.Context, msgs []*nats.Msg) ([]Stored, error) {
	stored, errs := make([]Stored, len(msgs)), make([]error, len(msgs))
	waiting := make([]*pending, len(msgs))
	for i, msg := range msgs {
		waiting[i], errs[i] = g.enqueue(ctx, msg)
	}
	for i, p := range waiting {
		if p != nil {
			stored[i], errs[i] = g.await(ctx, p)
		}
	}
	return stored, firstOf(errs)
}

func firstOf(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
