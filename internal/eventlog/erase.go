package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

const (
	// eraseSubject takes the erasures of other processes: the one with the embedded server
	// writes its files.
	eraseSubject = "clerk.erase"

	// eraseTimeout bounds an erasure of [EraseBatch] messages by another process. Each may
	// be in another block of 8 MB.
	eraseTimeout = 5 * time.Minute

	// deletesInFlight limits concurrent deletions: enough to wait for no single one.
	deletesInFlight = 16
)

// EraseBatch is the most messages that one call should erase: other erasures wait for it.
const EraseBatch = 1000

// Erase deletes events and overwrites them in the server's files. It is no error when
// some are gone already.
func (l *Log) Erase(ctx context.Context, seqs ...uint64) error {
	return l.remove(ctx, Stream, seqs)
}

// RemoveLetters deletes dead letters and overwrites them in the server's files. It is no
// error when some are gone already.
func (l *Log) RemoveLetters(ctx context.Context, seqs ...uint64) error {
	return l.remove(ctx, DeadStream, seqs)
}

// remove deletes messages and overwrites them in the stream's files.
//
// NATS overwrites a message by writing its block anew, 8 MB, one after the other. The
// owner of an embedded server is faster. Where it does it, all do it through it: to
// overwrite a message, NATS may write a block as it had read it before.
func (l *Log) remove(ctx context.Context, name string, seqs []uint64) error {
	if len(seqs) == 0 {
		return nil
	}
	stream, err := l.stream(name)
	if err != nil {
		return err
	}
	if l.erase != nil {
		err = l.erase(name, seqs, func(seqs []uint64) error { return l.deleteAll(ctx, name, seqs, stream.DeleteMsg) })
	} else {
		err = l.requestErase(ctx, eraseRequest{name, seqs})
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return l.deleteAll(ctx, name, seqs, stream.SecureDeleteMsg)
	}
	return err
}

// deleteAll deletes messages, several at a time.
func (l *Log) deleteAll(ctx context.Context, name string, seqs []uint64, one func(context.Context, uint64) error) error {
	all, inGroup := errgroup.WithContext(ctx)
	all.SetLimit(deletesInFlight)
	for _, seq := range seqs {
		if inGroup.Err() != nil {
			break
		}
		all.Go(func() error {
			err := one(inGroup, seq)
			if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
				if _, getErr := l.get(inGroup, name, seq); errors.Is(getErr, ErrNotFound) {
					return nil
				}
			}
			if err != nil {
				return fmt.Errorf("delete %d of stream %s: %w", seq, name, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

type eraseRequest struct {
	Stream string   `json:"stream"`
	Seqs   []uint64 `json:"seqs"`
}

// requestErase has the owner of the server erase. The error is [errors.ErrUnsupported]
// when there is none.
func (l *Log) requestErase(ctx context.Context, request eraseRequest) error {
	data, err := json.Marshal(request)
	if err == nil {
		err = l.askOwner(ctx, eraseSubject, data, eraseTimeout)
	}
	if err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	return nil
}

func (l *Log) eraseFor(ctx context.Context, data []byte) error {
	var request eraseRequest
	if err := json.Unmarshal(data, &request); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	return l.remove(ctx, request.Stream, request.Seqs)
}
