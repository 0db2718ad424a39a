package eventlog

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// Pause is a time between two events that were stored one after the other.
type Pause struct {
	From, To time.Time
}

// Length is how long it was.
func (p Pause) Length() time.Duration { return p.To.Sub(p.From) }

// Pauses are the longest times without an event since a moment: at most n, the longest
// first, none shorter than least. Probes are no events here.
//
// They are found by halving: between two events that lie no further apart than a pause
// that was found already, nobody needs to look. So a million events cost some hundreds
// of looks, not a million.
func (l *Log) Pauses(ctx context.Context, since time.Time, n int, least time.Duration) ([]Pause, error) {
	stream, err := l.js.Stream(ctx, Stream)
	if err != nil {
		return nil, fmt.Errorf("read stream %s: %w", Stream, err)
	}
	first, err := reading{nc: l.nc, stream: stream}.firstSince(ctx, since)
	if err != nil {
		return nil, err
	}
	last := stream.CachedInfo().State.LastSeq
	if first > last {
		return nil, nil
	}
	return longestPauses(first, last, n, least, func(seq uint64) (moment, error) { return l.eventFrom(ctx, stream, seq) })
}

// moment is when an event was stored.
type moment struct {
	seq uint64
	at  time.Time
}

// eventFrom is the first event at or after a sequence that is no probe, with the
// sequence 0 when there is none.
func (l *Log) eventFrom(ctx context.Context, stream jetstream.Stream, seq uint64) (moment, error) {
	next := func(subject string) (moment, bool, error) {
		msg, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return moment{}, false, nil
		case err != nil:
			return moment{}, false, fmt.Errorf("read stream %s: %w", Stream, err)
		}
		return moment{msg.Sequence, msg.Time}, newEnvelope(msg.Subject, nil).Type == clerk.ProbeType, nil
	}
	m, isProbe, err := next(Subject + ".>")
	types := l.Types()
	if err != nil || !isProbe || types == nil { // nil: there is no telling them apart by subjects
		return m, err
	}
	// By type: the probes may be many.
	m = moment{}
	for _, glob := range types {
		found, _, err := next(Subject + "." + strings.TrimSuffix(glob, "*") + ">")
		if err != nil {
			return moment{}, err
		}
		if found.seq != 0 && (m.seq == 0 || found.seq < m.seq) {
			m = found
		}
	}
	return m, nil
}

// stretch lies between two events. There is none in [empty, to.seq).
type stretch struct {
	from, to moment
	empty    uint64
}

func (s stretch) length() time.Duration { return s.to.at.Sub(s.from.at) }

// stretches are a heap with the longest on top.
type stretches []stretch

func (s stretches) Len() int           { return len(s) }
func (s stretches) Less(i, j int) bool { return s[i].length() > s[j].length() }
func (s stretches) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *stretches) Push(x any)        { *s = append(*s, x.(stretch)) }
func (s *stretches) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	*s = (*s)[:last]
	return x
}

// longestPauses looks between two sequences. eventFrom returns the first event at or
// after one, with the sequence 0 when there is none.
func longestPauses(first, last uint64, n int, least time.Duration, eventFrom func(uint64) (moment, error)) ([]Pause, error) {
	from, err := eventFrom(first)
	if err != nil || from.seq == 0 {
		return nil, err
	}
	to := from // the last event, found from its right by halving
	for low, high := from.seq, last; low < high; {
		middle := low + (high-low+1)/2
		m, err := eventFrom(middle)
		if err != nil {
			return nil, err
		}
		if m.seq == 0 || m.seq > last {
			high = middle - 1
		} else {
			to, low = m, m.seq
		}
	}
	open := &stretches{{from, to, to.seq}}
	var pauses []Pause
	for open.Len() > 0 && len(pauses) < n {
		s := heap.Pop(open).(stretch)
		if s.length() < least || s.from.seq == s.to.seq {
			break
		}
		if s.empty <= s.from.seq+1 { // nothing between them, and no other stretch is longer
			pauses = append(pauses, Pause{s.from.at, s.to.at})
			continue
		}
		middle := s.from.seq + (s.empty-s.from.seq)/2
		m, err := eventFrom(middle)
		switch {
		case err != nil:
			return nil, err
		case m.seq == 0 || m.seq >= s.to.seq: // 0: erased meanwhile
			heap.Push(open, stretch{s.from, s.to, middle})
		default:
			heap.Push(open, stretch{s.from, m, middle})
			heap.Push(open, stretch{m, s.to, s.empty})
		}
	}
	return pauses, nil
}
