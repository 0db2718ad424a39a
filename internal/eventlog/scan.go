package eventlog

import (
	"context"
	"errors"
	"io"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrInterrupted means that the server did not send everything it has. The events
// read before are right, and a new scan can continue after them.
var ErrInterrupted = errors.New("reading the event log was interrupted")

// Scan reads stored events in the order of the log: those that were stored when it
// began, none twice. It changes nothing on the server.
//
// A filter can select several subjects. Each is read by a cursor: on the server, one
// consumer of several subjects is slow, and several consumers of one are not.
type Scan struct {
	filter  Filter
	cursors []*cursor
	last    uint64 // the scan ends with this sequence
	taken   int
}

// Events starts a scan of the log. With headersOnly, the bodies stay on the server.
func (l *Log) Events(ctx context.Context, f Filter, headersOnly bool) (*Scan, error) {
	return l.scan(ctx, Stream, Subject, l.resources(), f, headersOnly)
}

// Letters starts a scan of the dead letters. The filter's sequences and times are those
// of the letters.
func (l *Log) Letters(ctx context.Context, f Filter) (*Scan, error) {
	return l.scan(ctx, DeadStream, DeadSubject, []string{anyResource}, f, false)
}

func (l *Log) scan(ctx context.Context, name, prefix string, resources []string, f Filter, headersOnly bool) (*Scan, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	info, err := l.streamInfo(ctx, name)
	if err != nil {
		return nil, err
	}
	stream, err := l.stream(name)
	if err != nil {
		return nil, err
	}
	from, last := max(f.From, info.State.FirstSeq, 1), info.State.LastSeq
	if f.To != 0 {
		last = min(last, f.To)
	}
	if !f.Since.IsZero() {
		first, err := l.firstSince(ctx, info, f.Since)
		if err != nil {
			return nil, err
		}
		from = max(from, first)
	}
	if !f.Until.IsZero() {
		end, err := l.firstSince(ctx, info, f.Until)
		if err != nil {
			return nil, err
		}
		last = min(last, end-1)
	}
	r := reader{stream, f.subjects(prefix, resources), headersOnly, scanIdle, scanPatience}
	if f.Last > 0 {
		if from, err = r.startOfLast(ctx, f, from, last); err != nil {
			return nil, err
		}
	}
	return r.scan(ctx, f, from, last)
}

// firstSince returns the sequence of the first message that was stored at or after t,
// one more than the last when there is none.
//
// It does not use the stream's LastTime, which is zero when the server was killed after the
// last event was erased, up to 2.15 at least.
func (l *Log) firstSince(ctx context.Context, info *jetstream.StreamInfo, t time.Time) (uint64, error) {
	first, last := max(info.State.FirstSeq, 1), info.State.LastSeq
	var failed error
	n := sort.Search(int(last+1-min(first, last+1)), func(i int) bool {
		if failed != nil {
			return true
		}
		m, err := l.getFrom(ctx, info.Config.Name, first+uint64(i), ">")
		switch {
		case errors.Is(err, ErrNotFound):
			return true
		case err != nil:
			failed = err
			return true
		}
		return !m.StoredAt.Before(t)
	})
	return first + uint64(n), failed
}

// startOfLast returns the sequence from which on f.Last events match, or all that do. It
// reads windows from the end, without overlap and each four times as large as the one
// before: at most the log once, of which the server skips what it can.
func (r reader) startOfLast(ctx context.Context, f Filter, from, last uint64) (uint64, error) {
	first, missing := last+1, f.Last
	f.Limit, f.Last = 0, 0
	r.headersOnly = true
	for size, end := uint64(missing), last+1; end > from; size *= 4 {
		start := max(from, end-min(size, end))
		s, err := r.scan(ctx, f, start, end-1)
		if err != nil {
			return 0, err
		}
		var found []uint64
		if err := s.Each(ctx, func(m *Message) error {
			found = append(found, m.Seq)
			return nil
		}); err != nil {
			return 0, err
		}
		if len(found) >= missing {
			return found[len(found)-missing], nil
		}
		if len(found) > 0 {
			first = found[0]
		}
		missing -= len(found)
		end = start
	}
	return first, nil
}

// scan starts a scan from one sequence to another, both included.
func (r reader) scan(ctx context.Context, f Filter, from, last uint64) (*Scan, error) {
	s := &Scan{filter: f, last: last}
	if from > last {
		return s, nil
	}
	for _, subject := range r.subjects {
		c, err := r.from(ctx, subject, from)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.cursors = append(s.cursors, c)
	}
	return s, nil
}

// Next returns the next event, [io.EOF] after the last. There is nothing to settle.
func (s *Scan) Next(ctx context.Context) (*Message, error) {
	for s.filter.Limit == 0 || s.taken < s.filter.Limit {
		var first *cursor
		for _, c := range s.cursors {
			if err := c.fill(ctx, s.last); err != nil {
				return nil, err
			}
			if c.head != nil && (first == nil || c.head.Seq < first.head.Seq) {
				first = c
			}
		}
		if first == nil {
			break
		}
		m := first.head
		for _, c := range s.cursors { // subjects of overlapping globs have the same events
			if c.head != nil && c.head.Seq == m.Seq {
				c.head = nil
			}
		}
		if s.filter.matches(m) {
			s.taken++
			return m, nil
		}
	}
	return nil, io.EOF
}

// Each calls f for every event that is left, and returns the first error of f. It closes
// the scan.
func (s *Scan) Each(ctx context.Context, f func(*Message) error) error {
	defer s.Close()
	for {
		m, err := s.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := f(m); err != nil {
			return err
		}
	}
}

// Total returns how many events the scan reads at most: for a progress bar.
func (s *Scan) Total(ctx context.Context) (uint64, error) {
	var total uint64
	for _, c := range s.cursors {
		n, err := c.total(ctx, s.last)
		if err != nil {
			return 0, err
		}
		total += n
	}
	if limit := uint64(max(s.filter.Limit, s.filter.Last)); limit > 0 && s.filter.exact() {
		total = min(total, limit)
	}
	return total, nil
}

// Close ends the scan. It can be called again.
func (s *Scan) Close() {
	for _, c := range s.cursors {
		c.close()
	}
	s.cursors = nil
}
