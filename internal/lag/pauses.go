package lag

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
)

// pause is the time between two consecutive stored events.
type pause struct {
	from, to time.Time
}

func (p pause) length() time.Duration { return p.to.Sub(p.from) }

// findPauses returns the longest pauses since a time: at most n, the longest first,
// none shorter than least. Probes do not count as events.
//
// It bisects the log: two events that are closer than a pause already found need no
// search between them. A million events cost some hundreds of requests.
func findPauses(ctx context.Context, log *eventlog.Log, since time.Time, n int, least time.Duration) ([]pause, error) {
	first, last, err := log.FirstSince(ctx, since)
	if err != nil || first > last {
		return nil, err
	}
	return longestPauses(first, last, n, least, func(seq uint64) (moment, error) {
		m, err := log.NextEvent(ctx, seq)
		switch {
		case errors.Is(err, eventlog.ErrNotFound):
			return moment{}, nil
		case err != nil:
			return moment{}, err
		}
		return moment{m.Seq, m.StoredAt}, nil
	})
}

// moment is the position and time of an event; sequence 0 means none.
type moment struct {
	seq uint64
	at  time.Time
}

// stretch is the range between two events. None is in [empty, to.seq).
type stretch struct {
	from, to moment
	empty    uint64
}

func (s stretch) length() time.Duration { return s.to.at.Sub(s.from.at) }

// stretches is a heap, longest first.
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

// longestPauses searches between two sequences. eventFrom returns the first event at or
// after a sequence.
func longestPauses(first, last uint64, n int, least time.Duration, eventFrom func(uint64) (moment, error)) ([]pause, error) {
	from, err := eventFrom(first)
	if err != nil || from.seq == 0 {
		return nil, err
	}
	to := from // the last event, by bisection
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
	var pauses []pause
	for open.Len() > 0 && len(pauses) < n {
		s := heap.Pop(open).(stretch)
		if s.length() < least || s.from.seq == s.to.seq {
			break
		}
		if s.empty <= s.from.seq+1 { // consecutive events, and no other stretch is longer
			pauses = append(pauses, pause{s.from.at, s.to.at})
			continue
		}
		middle := s.from.seq + (s.empty-s.from.seq)/2
		m, err := eventFrom(middle)
		switch {
		case err != nil:
			return nil, err
		case m.seq == 0 || m.seq >= s.to.seq: // 0: erased concurrently
			heap.Push(open, stretch{s.from, s.to, middle})
		default:
			heap.Push(open, stretch{s.from, m, middle})
			heap.Push(open, stretch{m, s.to, s.empty})
		}
	}
	return pauses, nil
}
