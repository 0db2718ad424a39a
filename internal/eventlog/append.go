package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/clerksync/clerksync/internal/clerk"
)

const (
	// maxGroup and maxGroupBytes bound what is committed at once. JetStream takes
	// up to 1,000 messages in an atomic batch.
	maxGroup      = 256
	maxGroupBytes = 4 << 20

	// minBatch is the smallest group for which an atomic batch pays: on a single
	// server it costs the making of a folder with files in it, as much as about
	// eight fsyncs.
	minBatch = 8

	// commitTimeout is shorter than the receiver's deadline, so that a server
	// that does not answer is answered for.
	commitTimeout = 8 * time.Second

	// headroom is kept free in every message for the headers that are added to an
	// event later: those of a batch, or those of a dead letter with its error. What
	// is in the log can thus always be committed together with others, and parked.
	headroom = 1024
)

var (
	errNoAnswer = fmt.Errorf("no answer from JetStream within %s", commitTimeout)
	errLost     = errors.New("the connection to NATS was lost")
)

// Stored tells where an event is in the log.
type Stored struct {
	Seq       uint64
	Duplicate bool // it was there already
}

// pending is an event that waits for a commit.
type pending struct {
	msg  *nats.Msg
	done chan result // has room for the one result, so that nobody waits for a caller who left
}

type result struct {
	stored Stored
	err    error
}

// Append stores an event. When it returns without an error, the event is
// durable: on an embedded server written with fsync, on a cluster acknowledged by
// the stream's replicas.
//
// Calls at the same time share a commit (group commit): while one is on its way
// to the disk, the next gathers. A call that comes alone is committed at once.
//
// The error is [ErrUnavailable] or [ErrTooLarge].
func (l *Log) Append(ctx context.Context, e *clerk.Event) (Stored, error) {
	return l.enqueue(ctx, newMsg(Subject, e))
}

func (l *Log) enqueue(ctx context.Context, msg *nats.Msg) (Stored, error) {
	if size := int64(msg.Size()) + headroom; size > l.nc.MaxPayload() {
		return Stored{}, fmt.Errorf("%w: %d bytes with headers, the server takes %d", ErrTooLarge, size, l.nc.MaxPayload())
	}
	if !l.nc.IsConnected() {
		return Stored{}, fmt.Errorf("%w: not connected to NATS", ErrUnavailable)
	}
	p := &pending{msg: msg, done: make(chan result, 1)}
	select {
	case l.queue <- p:
	case <-l.closing:
		return Stored{}, fmt.Errorf("%w: closing", ErrUnavailable)
	case <-ctx.Done():
		return Stored{}, fmt.Errorf("%w: waiting for a commit: %w", ErrUnavailable, ctx.Err())
	}
	select {
	case r := <-p.done:
		return r.stored, r.err
	case <-l.closing:
		// The commit in flight, which may be this one's, is still waited for.
		l.closed.Wait()
		select {
		case r := <-p.done:
			return r.stored, r.err
		default:
			return Stored{}, fmt.Errorf("%w: closing", ErrUnavailable)
		}
	case <-ctx.Done():
		return Stored{}, fmt.Errorf("%w: waiting for the commit: %w", ErrUnavailable, ctx.Err())
	}
}

// commitLoop commits what is waiting, group after group.
func (l *Log) commitLoop() {
	defer close(l.published)
	group := make([]*pending, 0, maxGroup)
	for {
		select {
		case p := <-l.queue:
			group = l.gather(append(group[:0], p))
			l.commit(group)
			clear(group)
		case <-l.closing:
			return
		}
	}
}

// gather adds what is waiting now, without waiting for more.
func (l *Log) gather(group []*pending) []*pending {
	bytes := group[0].msg.Size()
	for len(group) < maxGroup && bytes < maxGroupBytes {
		select {
		case p := <-l.queue:
			group = append(group, p)
			bytes += p.msg.Size()
		default:
			return group
		}
	}
	return group
}

func (l *Log) commit(group []*pending) {
	ctx, cancel := l.whileConnected(context.Background())
	defer cancel()
	switch {
	case l.sync != nil:
		l.published <- published{slices.Clone(group), l.publish(ctx, group)}
	case l.atomic && len(group) >= minBatch:
		l.commitBatch(ctx, group)
	default:
		answer(group, l.publish(ctx, group))
	}
}

// answer gives everybody their result.
func answer(group []*pending, results []result) {
	for i, p := range group {
		p.done <- results[i]
	}
}

// published is a group that JetStream has acknowledged, and the disk not yet.
type published struct {
	group   []*pending
	results []result
}

// syncLoop has what is published forced onto the disk, and then answers. While it
// waits for the disk, the next group is published.
func (l *Log) syncLoop() {
	for first := range l.published {
		waiting := []published{first}
		for more := true; more; {
			select {
			case p, ok := <-l.published:
				if more = ok; ok {
					waiting = append(waiting, p)
				}
			default:
				more = false
			}
		}
		err := l.forceToDisk(Stream)
		for _, p := range waiting {
			if err != nil {
				for i := range p.results {
					p.results[i] = result{err: err}
				}
			}
			answer(p.group, p.results)
		}
	}
}

// forceToDisk makes what a stream has acknowledged durable. After a failure the
// log takes nothing any more: what could not be written may have been dropped by
// the system, while JetStream still believes it has it and would call the same
// event, sent again, a duplicate.
func (l *Log) forceToDisk(stream string) error {
	if err := l.broken.Load(); err != nil {
		return *err
	}
	if err := l.sync(stream); err != nil {
		err = fmt.Errorf("%w until a restart: %w", ErrUnavailable, err)
		l.logger.Error("the event log could not be written to the disk: look at the disk, then restart", "err", err)
		l.broken.Store(&err)
		return err
	}
	return nil
}

// whileConnected is a context that ends after commitTimeout, and together with the
// connection: a server that went away answers nothing any more, and what is
// published meanwhile only waits in the client.
func (l *Log) whileConnected(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeoutCause(parent, commitTimeout, errNoAnswer)
	ctx, lose := context.WithCancelCause(ctx)
	status := l.nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	go func() {
		if _, lost := <-status; lost {
			lose(errLost)
		}
	}()
	if !l.nc.IsConnected() { // it was lost before anybody listened
		lose(errLost)
	}
	return ctx, func() {
		l.nc.RemoveStatusListener(status) // closes it
		lose(nil)
		stop()
	}
}

// pubAck is JetStream's answer to a message or a batch.
type pubAck struct {
	Seq       uint64 `json:"seq"` // of the last message
	Duplicate bool   `json:"duplicate"`
	Count     int    `json:"count"`
	Error     *struct {
		Code        int    `json:"err_code"`
		Description string `json:"description"`
	} `json:"error"`
}

// refusedError is JetStream's refusal: nothing was stored.
type refusedError struct {
	code        int
	description string
}

func (e *refusedError) Error() string {
	return fmt.Sprintf("%s (JetStream error %d)", e.description, e.code)
}

// commitBatch publishes the group as an atomic batch, and if the server refuses
// it as a whole, most likely since an id in it is known, every event by itself.
func (l *Log) commitBatch(ctx context.Context, group []*pending) {
	err := l.publishBatch(ctx, group)
	if err == nil {
		return
	}
	var refused *refusedError
	if errors.As(err, &refused) { // nothing of it is stored
		answer(group, l.publish(ctx, group))
		return
	}
	for _, p := range group {
		p.done <- result{err: err}
	}
}

// publishBatch publishes the group as an atomic batch: all of it is stored, with
// one fsync, or nothing. Every error but a *refusedError leaves open which.
//
// The client has no call for it; the protocol is three headers. Only the last
// message asks for an answer, which speaks for all.
func (l *Log) publishBatch(ctx context.Context, group []*pending) error {
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
		if err := l.nc.PublishMsg(p.msg); err != nil {
			return fmt.Errorf("%w: publish: %w", ErrUnavailable, err)
		}
	}
	ack, err := l.request(ctx, group[last].msg)
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

func (l *Log) request(ctx context.Context, msg *nats.Msg) (*pubAck, error) {
	reply, err := l.nc.RequestMsgWithContext(ctx, msg)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("%w: publish: %w", ErrUnavailable, err)
	}
	var ack pubAck
	if err := json.Unmarshal(reply.Data, &ack); err != nil {
		return nil, fmt.Errorf("%w: unreadable acknowledgement", ErrUnavailable)
	}
	if ack.Error != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, &refusedError{ack.Error.Code, ack.Error.Description})
	}
	return &ack, nil
}

// publish publishes every event by itself, all at once, and waits for all answers.
func (l *Log) publish(ctx context.Context, group []*pending) []result {
	results := make([]result, len(group))
	if len(group) == 1 { // the lone event takes the shortest way
		results[0] = l.publishOne(ctx, group[0].msg)
		return results
	}
	var all sync.WaitGroup
	for i, p := range group {
		all.Go(func() { results[i] = l.publishOne(ctx, p.msg) })
	}
	all.Wait()
	return results
}

func (l *Log) publishOne(ctx context.Context, msg *nats.Msg) result {
	ack, err := l.request(ctx, msg)
	if err != nil {
		return result{err: err}
	}
	return result{stored: Stored{Seq: ack.Seq, Duplicate: ack.Duplicate}}
}
