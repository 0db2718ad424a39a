package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// scanAhead and scanAheadBytes bound what the server sends ahead to a cursor.
	scanAhead      = 1000
	scanAheadBytes = 16 << 20

	// scanIdle is how long a cursor waits for a message before it asks the server
	// whether any is left: the rest may have been erased.
	scanIdle = time.Second

	// scanPatience is how long the server may send nothing.
	scanPatience = 10 * time.Second
)

// reader is what the cursors of a scan have in common.
type reader struct {
	stream      jetstream.Stream
	subjects    []string
	headersOnly bool

	idle, patience time.Duration // scanIdle and scanPatience, but in tests
}

// from opens a cursor on a subject.
func (r reader) from(ctx context.Context, subject string, seq uint64) (*cursor, error) {
	filter := subject
	if strings.HasSuffix(filter, ".>") {
		filter = "" // the whole stream: cheaper for the server than a filter that everything passes
	}
	consumer, err := r.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: filter, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seq,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: r.headersOnly,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, refused("read stream "+r.stream.CachedInfo().Config.Name, err)
	}
	return &cursor{reader: r, subject: subject, consumer: consumer, next: seq, left: consumer.CachedInfo().NumPending}, nil
}

// count returns how many events under a subject the server has from a sequence on.
func (r reader) count(ctx context.Context, subject string, seq uint64) (uint64, error) {
	c, err := r.from(ctx, subject, seq)
	if err != nil {
		return 0, err
	}
	c.close()
	return c.left, nil
}

// cursor reads one subject.
//
// It does not use jetstream's ordered consumer, which holds a lock while it retries to
// replace its consumer, without a limit: closing it would wait for the server.
type cursor struct {
	reader   reader
	subject  string
	consumer jetstream.Consumer

	run      jetstream.ConsumeContext // nil until the first read
	messages chan jetstream.Msg
	gone     chan error // the consumer is gone from the server
	closed   chan struct{}

	head      *Message // the next event, nil until it is read
	next      uint64   // the sequence to read on from
	left      uint64   // how many there are from next on, by the server's last count
	read      uint64   // how many were read
	delivered uint64   // how many this consumer delivered, by the server's count
}

// errGap means that messages were lost with the connection.
var errGap = errors.New("the server has sent more than has arrived")

// fill reads the next event into head, which stays nil when there is none up to last.
func (c *cursor) fill(ctx context.Context, last uint64) error {
	for begun := time.Now(); c.head == nil && c.left > 0 && c.next <= last; {
		err := c.advance(ctx, last)
		if errors.Is(err, errGap) || isGone(err) {
			err = c.reopen(ctx)
		}
		switch {
		case c.head != nil || c.left == 0:
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("%w: %w", ErrInterrupted, err)
		case time.Since(begun) >= c.reader.patience:
			return fmt.Errorf("%w: the server has sent nothing for %s", ErrInterrupted, c.reader.patience)
		}
	}
	return nil
}

// advance takes the next message. When none arrives, it asks what is left.
func (c *cursor) advance(ctx context.Context, last uint64) error {
	if c.run == nil {
		if err := c.start(int(min(scanAhead, last-c.next+1))); err != nil {
			return err
		}
	}
	select {
	case msg := <-c.messages: // without a timer: most often it is there
		return c.take(msg, last)
	default:
	}
	select {
	case msg := <-c.messages:
		return c.take(msg, last)
	case err := <-c.gone:
		return err
	case <-time.After(c.reader.idle):
		return c.ask(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start makes the server send, with so many messages ahead at most.
func (c *cursor) start(ahead int) (err error) {
	// Without a buffer: what the server sends ahead is bounded in bytes, and is enough.
	messages, gone, closed := make(chan jetstream.Msg), make(chan error, 1), make(chan struct{})
	c.messages, c.gone, c.closed = messages, gone, closed
	c.run, err = c.consumer.Consume(
		func(msg jetstream.Msg) {
			select {
			case messages <- msg:
			case <-closed:
			}
		},
		jetstream.PullMaxMessagesWithBytesLimit(ahead, scanAheadBytes),
		reportGone(gone, func() {}), // ask finds out
	)
	return err
}

func (c *cursor) take(msg jetstream.Msg, last uint64) error {
	m, err := newMessage(msg)
	if err != nil {
		return err
	}
	meta, _ := msg.Metadata()
	if c.delivered++; meta.Sequence.Consumer != c.delivered {
		return errGap
	}
	if m.Seq > last {
		c.left = 0
		return nil
	}
	m.msg = nil // there is nothing to settle
	c.head, c.next, c.left = m, m.Seq+1, meta.NumPending
	c.read++
	return nil
}

// ask asks the server what is left. A server that does not answer may be restarting.
func (c *cursor) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.reader.idle)
	defer cancel()
	info, err := c.consumer.Info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return err
	case err == nil && info.NumPending == 0 && info.Delivered.Consumer == c.delivered: // the rest was erased
		c.left = 0
	}
	return nil
}

// reopen replaces the consumer. The server deletes one that asked for nothing for a
// while, because its events are used slowly or wait for those of other subjects, and all
// of them when it restarts.
func (c *cursor) reopen(ctx context.Context) error {
	fresh, err := c.reader.from(ctx, c.subject, c.next)
	if err != nil {
		return err
	}
	c.close()
	fresh.read = c.read
	*c = *fresh
	return nil
}

// total returns how many events the scan has from its beginning up to last.
func (c *cursor) total(ctx context.Context, last uint64) (uint64, error) {
	// In this order: what is stored in between makes it more, not less.
	behind, err := c.reader.count(ctx, c.subject, last+1)
	if err != nil {
		return 0, err
	}
	ahead, err := c.reader.count(ctx, c.subject, c.next)
	if err != nil {
		return 0, err
	}
	return c.read + ahead - min(behind, ahead), nil
}

// close stops the consumer and deletes it on the server, which does so itself after
// InactiveThreshold when this fails.
func (c *cursor) close() {
	if c.run != nil {
		close(c.closed)
		c.run.Stop()
		<-c.run.Closed()
		c.run = nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.reader.stream.DeleteConsumer(ctx, c.consumer.CachedInfo().Name)
}
