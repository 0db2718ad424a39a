package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"
)

const (
	// maxGroup and maxGroupBytes bound a group. JetStream takes up to 1,000 messages in
	// an atomic batch.
	maxGroup      = 256
	maxGroupBytes = 4 << 20

	// minBatch is the smallest group for which an atomic batch pays: a single server
	// creates a folder with files for it, which costs about as much as eight fsyncs.
	minBatch = 8

	// maxGroups bounds the groups in flight in a cluster, where one that meets a leader that
	// is gone must not delay the others. Another server gets one at a time: the larger the
	// groups, the fewer fsyncs.
	maxGroups = 4
)

// pace is the least time between the beginnings of two groups for the embedded server. A lone
// message is sent at once, and those of a stream share an fsync, and the wake-ups of all that
// is between here and the worker: at 1,000/s each would otherwise have its own.
const pace = 3 * time.Millisecond

var errClosing = fmt.Errorf("%w: closing", ErrUnavailable)

// grouper commits concurrent messages together: the embedded server gets them one behind the
// other, and one fsync for all; another one as an atomic batch, which a server with
// sync_always writes with one fsync, and on which a cluster agrees once.
type grouper struct {
	log     *Log
	sender  *sender       // to the embedded server
	queue   chan *pending // waiting for the next group
	closing <-chan struct{}
	ended   chan struct{}
}

// pending is an event that waits for a commit.
type pending struct {
	msg    *nats.Msg
	result result      // of its publication, before the fsync
	done   chan result // buffered, for a caller that has left
}

type result struct {
	stored Stored
	err    error
}

func newGrouper(l *Log) (g *grouper, err error) {
	g = &grouper{log: l, queue: make(chan *pending, 2*maxGroup), closing: l.closing, ended: make(chan struct{})}
	if l.disk != nil {
		g.sender, err = newSender(l)
	}
	return g, err
}

// commit stores a message, together with concurrent ones.
func (g *grouper) commit(ctx context.Context, msg *nats.Msg) (Stored, error) {
	p, err := g.enqueue(ctx, msg)
	if err != nil {
		return Stored{}, err
	}
	return g.await(ctx, p)
}

func (g *grouper) enqueue(ctx context.Context, msg *nats.Msg) (*pending, error) {
	p := &pending{msg: msg, done: make(chan result, 1)}
	select {
	case g.queue <- p:
		return p, nil
	case <-g.closing:
		return nil, errClosing
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: waiting for a commit: %w", ErrUnavailable, ctx.Err())
	}
}

func (g *grouper) await(ctx context.Context, p *pending) (Stored, error) {
	select {
	case r := <-p.done:
		return r.stored, r.err
	case <-g.ended:
		select { // this message may have been part of the last group
		case r := <-p.done:
			return r.stored, r.err
		default:
			return Stored{}, errClosing
		}
	case <-ctx.Done():
		return Stored{}, fmt.Errorf("%w: waiting for the commit: %w", ErrUnavailable, ctx.Err())
	}
}

// run commits the queue, group after group, until closing.
func (g *grouper) run() {
	defer close(g.ended)
	if g.sender != nil {
		g.runEmbedded()
		return
	}
	var inFlight errgroup.Group
	defer inFlight.Wait()
	inFlight.SetLimit(1)
	if g.log.replicated.Load() {
		inFlight.SetLimit(maxGroups)
	}
	for {
		select {
		case p := <-g.queue:
			// A group is gathered when it can be committed: what waits until then joins it.
			inFlight.Go(func() error {
				g.commitGroup(g.gather([]*pending{p}))
				return nil
			})
		case <-g.closing:
			return
		}
	}
}

// runEmbedded is run for the embedded server: while it forces messages onto the disk, the
// next ones are published, and are on their way to the worker.
func (g *grouper) runEmbedded() {
	defer g.sender.answers.Unsubscribe()
	published := make(chan []*pending, 16)
	var forcing sync.WaitGroup
	forcing.Go(func() { g.forceAll(published) })
	defer forcing.Wait()
	defer close(published)
	var began time.Time
	for {
		select {
		case p := <-g.queue:
			time.Sleep(pace - time.Since(began))
			began = time.Now()
			group := g.gather([]*pending{p})
			msgs := make([]*nats.Msg, len(group))
			for i, p := range group {
				msgs[i] = p.msg
			}
			stored, errs := g.sender.publishAll(context.Background(), msgs)
			for i, p := range group {
				p.result = result{stored[i], errs[i]}
			}
			published <- group
		case <-g.closing:
			return
		}
	}
}

// forceAll answers the callers when their messages are on the disk.
func (g *grouper) forceAll(published <-chan []*pending) {
	for group := range published {
		for range len(published) {
			group = append(group, <-published...)
		}
		err := g.log.disk.force(Stream)
		for _, p := range group {
			if p.result.err == nil && err != nil {
				p.result = result{err: err}
			}
			p.done <- p.result
		}
	}
}

// gather adds what is queued, without waiting for more.
func (g *grouper) gather(group []*pending) []*pending {
	bytes := group[0].msg.Size()
	for len(group) < maxGroup && bytes < maxGroupBytes {
		select {
		case p := <-g.queue:
			group = append(group, p)
			bytes += p.msg.Size()
		default:
			return group
		}
	}
	return group
}

func (g *grouper) commitGroup(group []*pending) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), commitTimeout, noAnswer(commitTimeout))
	defer cancel()
	publish := g.log.publish
	if len(group) >= minBatch {
		err := g.commitBatch(ctx, group)
		var refused *refusedError
		switch {
		case err == nil:
			return
		case errors.As(err, &refused):
			// The server refused the batch as a whole, most likely for an id that it
			// remembers: nothing of it is stored. Published singly, each gets its answer.
		case g.log.replicated.Load():
			// The batch is stored as a whole or not at all. The ids tell it, message by message.
			publish = func(ctx context.Context, msg *nats.Msg) (Stored, error) {
				return g.log.publishRetried(ctx, msg, true)
			}
		default:
			for _, p := range group {
				p.done <- result{err: err}
			}
			return
		}
	}
	var all sync.WaitGroup
	for _, p := range group {
		all.Go(func() {
			stored, err := publish(ctx, p.msg)
			p.done <- result{stored, err}
		})
	}
	all.Wait()
}

// commitBatch publishes the group as an atomic batch, which is stored as a whole or not
// at all. Only after a *refusedError is it known not to be stored.
//
// The client has no call for it; the protocol is three headers. Only the last message is
// acknowledged, for all.
func (g *grouper) commitBatch(ctx context.Context, group []*pending) error {
	limit := commitTimeout
	if g.log.replicated.Load() {
		limit = retryAfter
	}
	ctx, cancel := g.log.link.whileUp(ctx, limit)
	defer cancel()
	id := nuid.Next()
	for i, p := range group {
		p.msg.Header.Set("Nats-Batch-Id", id)
		p.msg.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
	}
	last := len(group) - 1
	group[last].msg.Header.Set("Nats-Batch-Commit", "1")
	defer func() {
		for _, p := range group {
			p.msg.Header.Del("Nats-Batch-Id")
			p.msg.Header.Del("Nats-Batch-Sequence")
			p.msg.Header.Del("Nats-Batch-Commit")
		}
	}()
	for _, p := range group[:last] {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: publish: %w", ErrUnavailable, context.Cause(ctx))
		}
		if err := g.log.nc.PublishMsg(p.msg); err != nil {
			return fmt.Errorf("%w: publish: %w", ErrUnavailable, err)
		}
	}
	ack, err := g.log.request(ctx, group[last].msg)
	if err != nil {
		return err
	}
	if ack.Count != len(group) {
		return fmt.Errorf("%w: %d of a batch of %d acknowledged", ErrUnavailable, ack.Count, len(group))
	}
	for i, p := range group {
		p.done <- result{stored: Stored{Seq: ack.Seq - uint64(last-i)}}
	}
	return nil
}
