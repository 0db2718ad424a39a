package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/store"
)

type lagCmd struct {
	Watch      bool          `name:"watch" help:"Measure again and again, until q or Ctrl-C."`
	Interval   time.Duration `name:"interval" default:"2s" help:"Time between two readings of --watch."`
	deployment `embed:""`
}

func (c *lagCmd) Help() string {
	return `The first line is the verdict, the second what to do. The states: in step; silent, no
event for longer than the limit; behind, events wait and are being applied; refusing,
deliveries are refused or would be; stuck, nothing is applied; lost, acknowledged events
went missing; unknown, the event log cannot be read. Lines with ! are faults that do not
decide the state. Exit status 0 when in step, 1 when not; --watch ends with 0 when you
end it.

The lags are those of the last events applied: delivery, from Clerk's emitting an event
to its receipt; queue, from storing it to its row; end to end. They need the database,
the rest only the event log. While events are pending, a reading takes a second longer,
to measure the rates.

--json prints an object, --watch --json one a line; null is unknown. It has the fields of
GET /lag: in_step, state (in_step, silent, behind, refusing, stuck, lost, unknown), cause,
why, since, fix, verdict (state and why), silent, measured_at, pending, in_work,
oldest_pending_age_seconds, stored_per_second, applied_per_second, seconds_left,
last_event_received_at, silence (seconds, limit_seconds, reached_at, usual_gap_seconds,
longest_gap_seconds), delivery_seconds, queue_seconds and end_to_end_seconds (each p50,
p99, events), dead_letters, workers (each name, version, started_at, appliers,
appliers_busy, applied, failing and outage: each reason, cause, since), receivers (each
name, version, started_at, instance_id, silent_after_seconds, refused, disk, probe), probe,
event_log (ok, error, events, bytes, max_bytes, free_bytes), postgresql (ok, error,
since), warnings (each cause, text, fix).`
}

const (
	// The limits of --interval. A reading asks the workers, and can take half a second.
	leastInterval = 500 * time.Millisecond
	mostInterval  = time.Hour

	// rateInterval is the time between the two readings of a rate.
	rateInterval = time.Second
)

var errNotInStep = errors.New("not in step")

func (c *lagCmd) Run(s *session) error {
	if c.Interval < leastInterval || c.Interval > mostInterval {
		return usageError("--interval is from 500ms to 1h")
	}
	l := &lagReader{lagCmd: c, s: s}
	r, err := l.read(s.ctx)
	if err != nil {
		return err
	}
	if c.Watch && !c.JSON && isTerminal(s.stdout) {
		return c.watchScreen(s, l, r)
	}
	defer l.close()
	if c.Watch {
		return c.watchLines(s, l, r)
	}
	if r.Pending != nil && *r.Pending > 0 {
		if r, err = l.readAfter(s.ctx, rateInterval); err != nil {
			return err
		}
	}
	if c.JSON {
		err = s.printJSON(r)
	} else {
		for _, line := range lagLines([]*lag.Reading{r}, lookOf(s)) {
			fmt.Fprintln(s.stdout, line)
		}
	}
	if err == nil && !r.InStep {
		err = errNotInStep
	}
	return err
}

// lagReader takes readings. When something cannot be reached, the reading says so, and the
// next one looks for it again: it may be restarted elsewhere.
type lagReader struct {
	*lagCmd
	s     *session
	meter *lag.Meter // nil while there is no event log
	done  func()
}

func (l *lagReader) close() {
	if l.meter != nil {
		l.done()
		l.meter = nil
	}
}

// readAfter waits and takes a reading.
func (l *lagReader) readAfter(ctx context.Context, d time.Duration) (*lag.Reading, error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, errStopped
	}
	return l.read(ctx)
}

// read takes a reading. It returns an error only when no later reading can succeed.
func (l *lagReader) read(ctx context.Context) (*lag.Reading, error) {
	if l.meter == nil {
		if r, err := l.open(ctx); r != nil || err != nil {
			return r, err
		}
	}
	r := l.meter.Measure(ctx)
	if ctx.Err() != nil {
		return nil, errStopped // the reading was cancelled halfway
	}
	if r.State == lag.Unknown {
		l.close()
	}
	return r, nil
}

// open makes the meter. Without an event log it returns a reading that says so.
func (l *lagReader) open(ctx context.Context) (*lag.Reading, error) {
	s, d := *l.s, l.deployment // a copy: a process that is restarted is found again
	s.ctx = ctx
	st, err := d.findStore(&s, d.Database)
	if err != nil && !errors.Is(err, errNoDatabase) {
		return nil, err
	}
	closeStore := func() {}
	if st != nil {
		closeStore = st.Close
	}
	log, done, err := d.openLog(&s)
	if err == nil {
		l.meter, l.done = lag.NewMeter(log, st, false, s.logger), func() { done(); closeStore() }
		if err := l.meter.Learn(ctx); err != nil {
			s.logger.Debug("the usual gap between events was not learned", "err", err)
		}
		return nil, nil
	}
	defer closeStore()
	switch {
	case isUsage(err):
		return nil, err
	case ctx.Err() != nil:
		return nil, errStopped
	}
	return withoutLog(ctx, st, err), nil
}

// withoutLog returns the reading when there is no event log.
func withoutLog(ctx context.Context, st *store.Store, err error) *lag.Reading {
	r := lag.Unreachable(err.Error(), hintOf(err))
	if st == nil {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r.PostgreSQL = &lag.Neighbour{OK: true}
	if err := st.Ping(ctx); err != nil {
		r.PostgreSQL = &lag.Neighbour{Error: store.Outage(err)}
	}
	return r
}

// lookOf returns how to draw on standard output.
func lookOf(s *session) look {
	if !isTerminal(s.stdout) {
		return look{}
	}
	width, _, _ := term.GetSize(int(s.stdout.(*os.File).Fd())) // 0: not known
	return look{width: width, colour: os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}
