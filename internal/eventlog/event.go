package eventlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/clerksync/clerksync/internal/clerk"
)

// ErrNotFound means that nothing is stored under a sequence.
var ErrNotFound = errors.New("not in the log: it never was, or is too old, or was erased")

// Get reads one event. The error is [ErrNotFound] when it is not there.
func (l *Log) Get(ctx context.Context, seq uint64) (*Message, error) {
	return l.get(ctx, Stream, seq)
}

// get reads one message of a stream.
func (l *Log) get(ctx context.Context, name string, seq uint64, options ...jetstream.GetMsgOpt) (*Message, error) {
	stream, err := l.stream(name)
	if err != nil {
		return nil, err
	}
	msg, err := stream.GetMsg(ctx, seq, options...)
	switch {
	case seq == 0, errors.Is(err, jetstream.ErrMsgNotFound): // sequences begin with 1
		return nil, fmt.Errorf("%s %d: %w", name, seq, ErrNotFound)
	case err != nil:
		return nil, readError(name, err)
	}
	return newRawMessage(msg), nil
}

// getFrom reads the first message under a subject at or after a sequence.
func (l *Log) getFrom(ctx context.Context, name string, seq uint64, subject string) (*Message, error) {
	return l.get(ctx, name, seq, jetstream.WithGetMsgSubject(subject))
}

// under reads the messages under a subject from a sequence on, with one request each:
// for subjects that have few.
func (l *Log) under(ctx context.Context, name string, seq uint64, subject string) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		for {
			m, err := l.getFrom(ctx, name, seq, subject)
			if errors.Is(err, ErrNotFound) || !yield(m, err) || err != nil {
				return
			}
			seq = m.Seq + 1
		}
	}
}

// NextEvent returns the first event at or after a sequence that is no probe. The error
// is [ErrNotFound] when there is none.
func (l *Log) NextEvent(ctx context.Context, seq uint64) (*Message, error) {
	m, err := l.getFrom(ctx, Stream, seq, Subject+".>")
	types := l.Types()
	if err != nil || m.Event.Envelope.Type != clerk.ProbeType || types == nil { // nil: subjects do not tell probes apart
		return m, err
	}
	// By type, since there may be many probes in a row.
	m, err = nil, fmt.Errorf("%s %d: %w", Stream, seq, ErrNotFound)
	for _, glob := range types {
		found, findErr := l.getFrom(ctx, Stream, seq, Subject+"."+strings.TrimSuffix(glob, "*")+">")
		switch {
		case errors.Is(findErr, ErrNotFound):
		case findErr != nil:
			return nil, findErr
		case m == nil || found.Seq < m.Seq:
			m, err = found, nil
		}
	}
	return m, err
}

// FirstSince returns the sequence of the first event that was stored at or after t, and
// that of the last event. The first is greater when there is none.
func (l *Log) FirstSince(ctx context.Context, t time.Time) (first, last uint64, err error) {
	info, err := l.streamInfo(ctx, Stream)
	if err != nil {
		return 0, 0, err
	}
	first, err = l.firstSince(ctx, info, t)
	return first, info.State.LastSeq, err
}

// FindProbe reads the probe with a svix-id that was stored after a sequence. The error
// is [ErrNotFound] when it is not there. The events of a load test, which can be millions,
// have another entity and are not read.
func (l *Log) FindProbe(ctx context.Context, id string, after uint64) (*Message, error) {
	for m, err := range l.under(ctx, Stream, after+1, Subject+"."+clerk.ProbeType+"."+clerk.ProbeID+".>") {
		if err != nil || m.Event.ID == id {
			return m, err
		}
	}
	return nil, fmt.Errorf("probe %s: %w", id, ErrNotFound)
}

// PersonalEvents calls f for every event under the id of a user: the user's own, and
// those of others that name the user, such as memberships.
//
// It does not rely on the resources that the log claims to hold: erasure must find
// everything.
func (l *Log) PersonalEvents(ctx context.Context, user string, f func(*Message) error) error {
	s, err := l.scan(ctx, Stream, Subject, []string{anyResource}, Filter{User: user}, false)
	if err != nil {
		return err
	}
	return s.Each(ctx, f)
}
