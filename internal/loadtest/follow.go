package loadtest

import (
	"context"
	"sync"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/tail"
)

const (
	// settleTimeout bounds the wait, after the last answer, for the workers to settle what
	// was sent.
	settleTimeout = 30 * time.Second

	// firstLag bounds the wait for the feed when everything is settled.
	firstLag = 2 * time.Second

	// settlePause is the time between two readings of that, and readTimeout the limit of one.
	settlePause = 20 * time.Millisecond
	readTimeout = 3 * time.Second
)

// follower measures the lag of the marked events, which the feed of clerksync tail shows.
// Both ends of a lag are read from this machine's clock.
type follower struct {
	traffic *traffic
	useless func(error) // called with a [Failure] when the events of the run cannot be applied

	mu       sync.Mutex
	lag      histogram
	parked   map[string]uint64 // by reason
	unstored uint64            // events that were acknowledged and not stored, because of their type
	lost     error             // why the feed ended before the run did
}

// follow starts to follow. The returned function ends it.
func (f *follower) follow(ctx context.Context, log *eventlog.Log) (stop func(), err error) {
	w, err := tail.Watch(log.Conn())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var ended sync.WaitGroup
	ended.Go(func() {
		err := w.Run(ctx, func(e tail.Event) error { f.take(e, time.Now()); return nil })
		f.mu.Lock()
		f.lost = err
		f.mu.Unlock()
	})
	return func() {
		cancel()
		ended.Wait()
	}, nil
}

func (f *follower) take(e tail.Event, now time.Time) {
	due, marked, ours := f.traffic.dueAt(e.SvixID)
	if !ours {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case e.Outcome == tail.Parked:
		if f.parked[e.Reason]++; f.parked[e.Reason] == mostWrong {
			f.useless(parkedFailure(e.Reason))
		}
	case e.Outcome == tail.Ignored && e.Seq == 0:
		if f.unstored++; f.unstored == mostWrong {
			f.useless(&Failure{"the endpoint acknowledges the events of users and does not store them", "take user.* into CLERKSYNC_STORE_EVENTS there, or send probes"})
		}
	case e.Seq != 0 && e.Outcome != tail.Stored && marked:
		f.lag.add(now.Sub(due))
	}
}

func parkedFailure(reason string) *Failure {
	fix := "clerksync dead ls, then dead discard"
	if reason == "wrong_instance" {
		fix = "give --instance-id as CLERK_INSTANCE_ID is there; " + fix
	}
	return &Failure{"the events become dead letters: " + reason, fix}
}

// await waits for the first lag: a worker tells of an event after it has settled it.
func (f *follower) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, firstLag)
	defer cancel()
	for {
		f.mu.Lock()
		n := f.lag.n
		f.mu.Unlock()
		if n > 0 || !waitUntil(ctx, time.Now().Add(settlePause)) {
			return
		}
	}
}

// endToEnd returns the lag, or why it is not known.
func (f *follower) endToEnd() (*lag.Quantiles, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.lag.n > 0:
		return &lag.Quantiles{P50: f.lag.quantile(.5).Seconds(), P99: f.lag.quantile(.99).Seconds(), Events: int(f.lag.n)}, ""
	case f.lost != nil:
		return nil, f.lost.Error()
	}
	return nil, "no worker told of an event of this run"
}

// backlog is how far the workers are behind at one moment.
type backlog struct {
	at            time.Time
	last, settled uint64 // sequences in the log
}

func readBacklog(ctx context.Context, log *eventlog.Log) (backlog, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	state, err := log.State(ctx)
	return backlog{time.Now(), state.Last, state.AppliedThrough}, err
}

// settle waits until everything up to a sequence is settled, for settleTimeout, and returns
// the last backlog it saw.
func settle(ctx context.Context, log *eventlog.Log, seq uint64) (backlog, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		b, err := readBacklog(context.WithoutCancel(ctx), log)
		if err != nil || b.settled >= seq || !waitUntil(ctx, time.Now().Add(settlePause)) {
			return b, err
		}
	}
}
