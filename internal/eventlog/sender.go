package eventlog

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// answerTimeout is longer than the time limit of a webhook: a server with a busy disk can
// pause for many seconds, and is there as long as it answers.
const answerTimeout = 30 * time.Second

// sender publishes messages one behind the other, and then reads the answers: a round trip
// for each would take most of the time. It is used by one goroutine at a time.
type sender struct {
	log     *Log
	inbox   string // followed by the number of a message
	sent    int
	answers *nats.Subscription
}

func newSender(l *Log) (*sender, error) {
	inbox := l.nc.NewInbox() + "."
	answers, err := l.nc.SubscribeSync(inbox + "*")
	if err != nil {
		return nil, fmt.Errorf("%w: publish: %w", ErrUnavailable, err)
	}
	return &sender{log: l, inbox: inbox, answers: answers}, nil
}

// publishAll stores messages, which the embedded server has not forced onto the disk. Each
// has its own result; with an error, it can be stored nevertheless.
func (s *sender) publishAll(ctx context.Context, msgs []*nats.Msg) ([]Stored, []error) {
	stored, errs := make([]Stored, len(msgs)), make([]error, len(msgs))
	before := s.sent
	up, answered, cancel := s.log.link.whileAnswering(ctx, answerTimeout)
	defer cancel()
	failRest := func(err error) ([]Stored, []error) {
		if cause := context.Cause(up); cause != nil {
			err = cause
		}
		err = fmt.Errorf("%w: publish: %w", ErrUnavailable, err)
		if s.log.disk != nil {
			err = s.log.disk.explain(err)
		}
		for i := range msgs {
			if errs[i] == nil && stored[i].Seq == 0 {
				errs[i] = err
			}
		}
		return stored, errs
	}
	for _, msg := range msgs {
		if up.Err() != nil { // publishing would only fill the client's buffer
			return failRest(up.Err())
		}
		s.sent++
		msg.Reply = s.inbox + strconv.Itoa(s.sent)
		if err := s.log.nc.PublishMsg(msg); err != nil {
			return failRest(err)
		}
	}
	for waiting := len(msgs); waiting > 0; {
		answer, err := s.answers.NextMsgWithContext(up)
		if err != nil {
			return failRest(err)
		}
		answered()
		number, err := strconv.Atoi(answer.Subject[len(s.inbox):])
		i := number - before - 1
		if err != nil || i < 0 || i >= len(msgs) {
			continue // an answer to an earlier message that came too late
		}
		waiting--
		ack, err := readAck(answer)
		if err != nil {
			errs[i] = err
			continue
		}
		stored[i] = Stored{Seq: ack.Seq, Duplicate: ack.Duplicate}
	}
	return stored, errs
}
