package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrInterrupted means that the server did not send what it has. What came before
// is right, and reading can go on from there.
var ErrInterrupted = errors.New("reading the event log was interrupted")

// Scan reads stored events in the order of the log: those that were stored when it
// began, none twice. It changes nothing on the server.
//
// One selection can take several subjects, which are read side by side: one reader
// of several subjects is slow on the server, several readers of one are not.
type Scan struct {
	filter  Filter
	cursors []*cursor
	last    uint64 // nothing behind it is part of the scan
	taken   int
}

// Events begins to read the log. headersOnly leaves the bodies on the server.
func (l *Log) Events(ctx context.Context, f Filter, headersOnly bool) (*Scan, error) {
	return l.scan(ctx, Stream, Subject, l.resources, f, headersOnly)
}

// Letters begins to read the dead letters. Of the filter, the sequences and times
// are those of the letters.
func (l *Log) Letters(ctx context.Context, f Filter) (*Scan, error) {
	return l.scan(ctx, DeadStream, DeadSubject, []string{anyResource}, f, false)
}

func (l *Log) scan(ctx context.Context, stream, prefix string, resources []string, f Filter, headersOnly bool) (*Scan, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	handle, err := l.js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", stream, err)
	}
	r := reading{l.nc, handle, f.subjects(prefix, resources), headersOnly, scanIdle, scanPatience}
	state := handle.CachedInfo().State
	s := &Scan{filter: f, last: state.LastSeq}
	if f.To != 0 {
		s.last = min(s.last, f.To)
	}
	from := max(f.From, state.FirstSeq, 1)
	if !f.Since.IsZero() {
		first, err := r.firstSince(ctx, f.Since)
		if err != nil {
			return nil, err
		}
		from = max(from, first)
	}
	if !f.Until.IsZero() {
		end, err := r.firstSince(ctx, f.Until)
		if err != nil {
			return nil, err
		}
		s.last = min(s.last, end-1)
	}
	if f.Last > 0 {
		if from, err = r.startOfLast(ctx, f, from, s.last); err != nil {
			return nil, err
		}
	}
	return s, s.open(ctx, r, from)
}

func (s *Scan) open(ctx context.Context, r reading, from uint64) error {
	if from > s.last {
		return nil
	}
	for _, subject := range r.subjects {
		c, err := r.from(ctx, subject, from)
		if err != nil {
			s.Close()
			return err
		}
		s.cursors = append(s.cursors, c)
	}
	return nil
}

// Next returns the next event, [io.EOF] after the last. Settling it does nothing.
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
		for _, c := range s.cursors { // subjects of globs that overlap have the same events
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

// Each calls f for every event that is left, until f returns an error, which it
// returns. It closes the scan.
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

// Total is how many events the scan will look at, at most: for a progress bar.
func (s *Scan) Total(ctx context.Context) (uint64, error) {
	var total uint64
	for _, c := range s.cursors {
		n, err := c.pending(ctx, s.last)
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
