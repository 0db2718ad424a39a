package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// scanAhead and scanAheadBytes are what a scan has the server send ahead.
	scanAhead      = 1000
	scanAheadBytes = 16 << 20

	// scanIdle is how long a scan waits before it asks whether what it waits for is
	// still there: it may have been erased.
	scanIdle = time.Second

	// scanPatience is how long the server may be silent altogether.
	scanPatience = 10 * time.Second
)

// cursor reads one subject.
type cursor struct {
	reading  reading
	subject  string
	consumer jetstream.Consumer
	inflow   *inflow // nil until the first is asked for

	head      *Message // the next, nil when it has to be read
	next      uint64   // the sequence from which on nothing is read yet
	left      uint64   // how many there are from next on, as far as the server knew
	read      uint64   // how many came that are part of the scan
	delivered uint64   // how many came from this consumer, by the server's count
	ended     bool
}

// fill reads the next event, unless there is none up to the last sequence.
func (c *cursor) fill(ctx context.Context, last uint64) error {
	if c.head != nil || c.ended {
		return nil
	}
	for begun := time.Now(); c.left > 0 && c.next <= last; {
		if c.inflow == nil {
			var err error
			if c.inflow, err = openInflow(c.consumer, int(min(scanAhead, last-c.next+1))); err != nil {
				return fmt.Errorf("%w: %w", ErrInterrupted, err)
			}
		}
		msg, err := c.inflow.next(ctx, c.reading.idle)
		switch {
		case err == nil && msg != nil:
			err = c.take(msg, last)
			if !errors.Is(err, errGap) {
				return err
			}
			err = c.reopen(ctx)
		case err == nil:
			err = c.ask(ctx)
		}
		if errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
			err = c.reopen(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("%w: %w", ErrInterrupted, err)
		case time.Since(begun) >= c.reading.patience:
			return fmt.Errorf("%w: the server has sent nothing for %s", ErrInterrupted, c.reading.patience)
		}
	}
	c.ended = true
	return nil
}

// ask asks what is left, since nothing comes. A server that does not answer may be on
// its way back.
func (c *cursor) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.reading.idle)
	defer cancel()
	info, err := c.consumer.Info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		return err
	case err == nil && info.NumPending == 0 && info.Delivered.Consumer == c.delivered: // what was left is gone
		c.left = 0
	}
	return nil
}

// reopen goes on with another consumer: the server forgets one from which nothing was
// asked for a while, because what is read is used slowly or stands under other
// subjects, and all of them when it is started anew.
func (c *cursor) reopen(ctx context.Context) error {
	fresh, err := c.reading.from(ctx, c.subject, c.next)
	if err != nil {
		return err
	}
	c.close()
	c.consumer, c.delivered, c.left = fresh.consumer, 0, fresh.left
	return nil
}

// errGap: the connection was lost, and what was on its way with it.
var errGap = errors.New("the server has sent more than has arrived")

func (c *cursor) take(msg jetstream.Msg, last uint64) error {
	m, err := newMessage(msg)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInterrupted, err)
	}
	meta, _ := msg.Metadata()
	if c.delivered++; meta.Sequence.Consumer != c.delivered {
		return errGap
	}
	if m.Seq > last {
		c.ended = true
		return nil
	}
	m.msg = nil // nothing is to be settled
	c.head, c.next, c.left = m, m.Seq+1, meta.NumPending
	c.read++
	return nil
}

// pending is how many events there are from the beginning up to the last sequence.
func (c *cursor) pending(ctx context.Context, last uint64) (uint64, error) {
	r := c.reading
	r.subjects = []string{c.subject}
	// In this order: what is stored meanwhile makes it more, not less.
	behind, err := r.count(ctx, last+1)
	if err != nil {
		return 0, err
	}
	ahead, err := r.count(ctx, c.next)
	if err != nil {
		return 0, err
	}
	return c.read + ahead - min(behind, ahead), nil
}

func (c *cursor) stop() {
	if c.inflow != nil {
		c.inflow.stop()
		c.inflow = nil
	}
}

func (c *cursor) close() {
	c.stop()
	c.reading.drop(c.consumer)
}
