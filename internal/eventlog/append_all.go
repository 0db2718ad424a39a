package eventlog

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clerksync/clerksync/internal/clerk"
)

// answerTimeout is longer than the time limit of a single event: nobody answers a webhook
// by it, and a server with a busy disk can pause for many seconds.
const answerTimeout = 30 * time.Second

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
	case o.group != nil:
		return o.group.commitAll(ctx, msgs)
	case l.replicated.Load(): // a cluster without batches: each message is sent again while there is no leader
		return l.publishEach(ctx, msgs)
	case l.disk == nil:
		return l.publishAll(ctx, msgs)
	}
	if err := l.disk.check(); err != nil {
		return nil, err
	}
	stored, err := l.publishAll(ctx, msgs)
	if err != nil {
		return nil, l.disk.explain(err)
	}
	if err := l.Sync(ctx); err != nil { // announced only now: webhooks need not wait for all of them
		return nil, err
	}
	return stored, nil
}

// publishAll publishes messages one behind the other, and then reads the answers: a round
// trip for each would take most of the time.
func (l *Log) publishAll(ctx context.Context, msgs []*nats.Msg) ([]Stored, error) {
	inbox := l.nc.NewInbox() + "."
	answers, err := l.nc.SubscribeSync(inbox + "*")
	if err != nil {
		return nil, fmt.Errorf("%w: publish: %w", ErrUnavailable, err)
	}
	defer answers.Unsubscribe()
	up, cancel := l.link.whileUp(ctx, answerTimeout)
	defer cancel()
	for i, msg := range msgs {
		if up.Err() != nil { // publishing would only fill the client's buffer
			return nil, fmt.Errorf("%w: publish: %w", ErrUnavailable, context.Cause(up))
		}
		msg.Reply = inbox + strconv.Itoa(i)
		if err := l.nc.PublishMsg(msg); err != nil {
			return nil, fmt.Errorf("%w: publish: %w", ErrUnavailable, err)
		}
	}
	stored := make([]Stored, len(msgs))
	var failed error
	for range msgs {
		answer, err := l.nextAnswer(ctx, answers)
		if err != nil {
			return stored, err
		}
		ack, err := readAck(answer)
		i, notOurs := strconv.Atoi(answer.Subject[len(inbox):])
		switch {
		case err != nil:
			failed = err
		case notOurs != nil || i < 0 || i >= len(msgs):
			failed = fmt.Errorf("%w: an answer to something else", ErrUnavailable)
		default:
			stored[i] = Stored{Seq: ack.Seq, Duplicate: ack.Duplicate}
		}
	}
	return stored, failed
}

// nextAnswer waits for an answer. The limit is for one, not for all: a busy server takes
// its time, and is there as long as it answers.
func (l *Log) nextAnswer(ctx context.Context, answers *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := l.link.whileUp(ctx, answerTimeout)
	defer cancel()
	answer, err := answers.NextMsgWithContext(ctx)
	if err == nil {
		return answer, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return nil, fmt.Errorf("%w: publish: %w", ErrUnavailable, err)
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
