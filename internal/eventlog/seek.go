package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// reading is what a scan asks of the server.
type reading struct {
	nc          *nats.Conn
	stream      jetstream.Stream
	subjects    []string
	headersOnly bool

	idle, patience time.Duration // scanIdle and scanPatience, but in tests
}

// consumer makes a reader on the server, which forgets it when nobody reads on.
func (r reading) consumer(ctx context.Context, config jetstream.ConsumerConfig) (jetstream.Consumer, error) {
	config.AckPolicy = jetstream.AckNonePolicy
	config.MemoryStorage = true
	config.Replicas = 1
	config.InactiveThreshold = time.Minute
	config.HeadersOnly = r.headersOnly
	consumer, err := r.stream.CreateConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", r.stream.CachedInfo().Config.Name, err)
	}
	return consumer, nil
}

func (r reading) drop(consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	// When this fails the server does it after InactiveThreshold.
	_ = r.stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)
}

// from begins to read one subject.
func (r reading) from(ctx context.Context, subject string, seq uint64) (*cursor, error) {
	filter := subject
	if strings.HasSuffix(filter, ".>") {
		// All that is in the stream, which is better not asked for by its subjects: when
		// the first and the last event under one are erased, 2.9 loses sight of those
		// between them.
		filter = ""
	}
	consumer, err := r.consumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: filter, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: seq,
	})
	if err != nil {
		return nil, err
	}
	return &cursor{reading: r, subject: subject, consumer: consumer, next: seq, left: consumer.CachedInfo().NumPending}, nil
}

// count is how many events the server has from a sequence on.
func (r reading) count(ctx context.Context, seq uint64) (uint64, error) {
	var total uint64
	for _, subject := range r.subjects {
		c, err := r.from(ctx, subject, seq)
		if err != nil {
			return 0, err
		}
		c.close()
		total += c.left
	}
	return total, nil
}

// firstSince is the sequence of the first event that was stored at or after t, one
// more than the last when there is none.
//
// The server could be asked with DeliverByStartTimePolicy, but 2.9 answers with the
// begin of the log where events at the end of a block are erased. And its LastTime is
// none when it was killed after the last event was erased, up to 2.15 at least.
func (r reading) firstSince(ctx context.Context, t time.Time) (uint64, error) {
	state := r.stream.CachedInfo().State
	first := max(state.FirstSeq, 1)
	var failed error
	n := sort.Search(span(first, state.LastSeq), func(i int) bool {
		if failed != nil {
			return true
		}
		msg, err := r.stream.GetMsg(ctx, first+uint64(i), jetstream.WithGetMsgSubject(">")) // it, or the next that is there
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return true
		case err != nil:
			failed = fmt.Errorf("read stream %s: %w", r.stream.CachedInfo().Config.Name, err)
			return true
		}
		return !msg.Time.Before(t)
	})
	return first + uint64(n), failed
}

// startOfLast is the sequence from which on f.Last events match. What the server
// selects by itself is counted there, by halving; what is to be looked at here is
// read, in stretches that grow.
func (r reading) startOfLast(ctx context.Context, f Filter, from, to uint64) (uint64, error) {
	if from > to {
		return from, nil
	}
	for want := uint64(f.Last); ; want *= 4 {
		behind, err := r.count(ctx, to+1)
		if err != nil {
			return 0, err
		}
		var failed error
		// The first sequence from which on fewer than want are there.
		n := sort.Search(span(from, to), func(i int) bool {
			if failed != nil {
				return true
			}
			var n uint64
			n, failed = r.count(ctx, from+uint64(i))
			return failed != nil || n < want+behind
		})
		if failed != nil {
			return 0, failed
		}
		start := from + uint64(max(n, 1)) - 1
		if f.exact() && want == uint64(f.Last) {
			again, err := r.count(ctx, to+1)
			if err != nil {
				return 0, err
			}
			if again == behind {
				return start, nil
			}
			// Meanwhile events were stored, which were counted in.
		}
		seqs, err := r.matching(ctx, f, start, to)
		if err != nil {
			return 0, err
		}
		if len(seqs) >= f.Last {
			return seqs[len(seqs)-f.Last], nil
		}
		if start == from {
			return from, nil
		}
	}
}

// matching are the sequences of the events that match between two.
func (r reading) matching(ctx context.Context, f Filter, from, to uint64) ([]uint64, error) {
	f.Limit, f.Last = 0, 0
	r.headersOnly = true
	s := &Scan{filter: f, last: to}
	if err := s.open(ctx, r, from); err != nil {
		return nil, err
	}
	var seqs []uint64
	err := s.Each(ctx, func(m *Message) error {
		seqs = append(seqs, m.Seq)
		return nil
	})
	return seqs, err
}

// span is how many sequences there are between two, both included.
func span(from, to uint64) int { return int(to + 1 - min(from, to+1)) }

// FirstSince returns the sequence of the first event that was stored at or after a
// time, and that of the last event. The first is greater when there is none.
func (l *Log) FirstSince(ctx context.Context, t time.Time) (first, last uint64, err error) {
	stream, err := l.js.Stream(ctx, Stream)
	if err != nil {
		return 0, 0, fmt.Errorf("read stream %s: %w", Stream, err)
	}
	first, err = reading{nc: l.nc, stream: stream}.firstSince(ctx, t)
	return first, stream.CachedInfo().State.LastSeq, err
}

// NextEvent returns the first event at or after a sequence that is no probe, with or
// without its body. The error is [ErrNotFound] when there is none.
func (l *Log) NextEvent(ctx context.Context, seq uint64) (*Message, error) {
	next := func(subject string) (*Message, error) {
		msg, err := l.getFrom(ctx, seq, subject)
		if err != nil {
			return nil, err
		}
		return newRawMessage(msg), nil
	}
	m, err := next(Subject + ".>")
	types := l.Types()
	if err != nil || m.Event.Envelope.Type != clerk.ProbeType || types == nil { // nil: subjects do not tell probes apart
		return m, err
	}
	// By type: the probes may be many.
	m = nil
	for _, glob := range types {
		found, err := next(Subject + "." + strings.TrimSuffix(glob, "*") + ">")
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return nil, err
		case m == nil || found.Seq < m.Seq:
			m = found
		}
	}
	if m == nil {
		return nil, fmt.Errorf("event from %d on: %w", seq, ErrNotFound)
	}
	return m, nil
}

// getFrom reads the first event at or after a sequence under a subject. The error is
// [ErrNotFound] when there is none.
func (l *Log) getFrom(ctx context.Context, seq uint64, subject string) (*jetstream.RawStreamMsg, error) {
	stream, err := l.js.Stream(ctx, Stream)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", Stream, err)
	}
	msg, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, fmt.Errorf("event from %d on: %w", seq, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("read stream %s: %w", Stream, err)
	}
	return msg, nil
}
