package eventlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Expire removes the events that were stored before t, in one request, and returns how
// many. It keeps everything after the sequence through: what is not applied has no age at
// which it may go. It keeps the newest event too, so that the sequences go on from there
// whatever happens to the server.
func (l *Log) Expire(ctx context.Context, t time.Time, through uint64) (uint64, error) {
	stream, err := l.stream(Stream)
	if err != nil {
		return 0, err
	}
	before, err := l.streamInfo(ctx, Stream)
	if err != nil {
		return 0, err
	}
	end, err := l.firstSince(ctx, before, t)
	if err != nil {
		return 0, fmt.Errorf("find the events to expire: %w", err)
	}
	if end = min(end, through+1, before.State.LastSeq); end <= before.State.FirstSeq {
		return 0, nil
	}
	if err := l.purge(ctx, stream, end); err != nil {
		return 0, fmt.Errorf("purge stream %s: %w", Stream, err)
	}
	if l.disk != nil { // the server may have written what is left of a block into a new file
		if err := l.disk.force(Stream); err != nil {
			return 0, err
		}
	}
	after, err := l.streamInfo(ctx, Stream)
	if err != nil {
		return 0, err
	}
	return before.State.Msgs + after.State.LastSeq - before.State.LastSeq - after.State.Msgs, nil
}

// blockEvents is more than the events that fit into a block of the server's files, 8 MB.
const blockEvents = 50_000

// purge removes the events before a sequence.
func (l *Log) purge(ctx context.Context, stream jetstream.Stream, end uint64) error {
	purge := func() error { return stream.Purge(ctx, jetstream.WithPurgeSequence(end)) }
	if l.erase == nil {
		return purge()
	}
	// The server may write what is left of a block anew, from what it had read before an
	// erasure overwrote records in it. So those are overwritten again.
	gaps, err := l.Gaps(ctx, end-1)
	if err != nil {
		return err
	}
	gaps = slices.DeleteFunc(gaps, func(seq uint64) bool { return seq >= end+blockEvents })
	err = l.erase(Stream, gaps, func(seqs []uint64) error {
		if err := l.deleteAll(ctx, Stream, seqs, stream.DeleteMsg); err != nil {
			return err
		}
		return purge()
	})
	if errors.Is(err, errors.ErrUnsupported) {
		return purge()
	}
	return err
}

// Gaps returns the sequences after a sequence at which the log has no event any more.
func (l *Log) Gaps(ctx context.Context, after uint64) ([]uint64, error) {
	stream, err := l.stream(Stream)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return nil, readError(Stream, err)
	}
	return slices.DeleteFunc(info.State.Deleted, func(seq uint64) bool { return seq <= after }), nil
}
