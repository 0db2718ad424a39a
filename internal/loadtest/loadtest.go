package loadtest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/probe"
	"github.com/clerksync/clerksync/internal/signing"
	"github.com/clerksync/clerksync/internal/units"
)

// The limits of [Options].
const (
	MostRate        = 50_000 // more than one such process sends
	MostFor         = time.Hour
	MostConnections = 1000   // the receiver stores 512 events at once and answers 503 to the rest
	MostPeople      = 10_000 // each leaves a tombstone, and memory in the event log

	// MostElsewhere is the greatest rate for a host other than this machine, unless asked
	// for. Clerk's API allows an instance 100 requests a second: this is ten times that.
	MostElsewhere = 1000
)

// Options configure a run.
type Options struct {
	URL         string
	Secret      string        // signs the events
	Rate        float64       // events per second, whether or not they are answered; 0: each connection sends the next after an answer
	For         time.Duration // the events are sent for this time
	Connections int
	BodySize    int    // bytes, or the least that an event has
	People      int    // user events of so many made-up people, who are deleted at the end; 0: probes, which change no row
	InstanceID  string // in the events of people, "" for none

	Log   *eventlog.Log // nil when unreachable: then there is no lag
	NoLog string        // why Log is nil
}

// events returns the number of events of a run with a rate, 0 of one without.
func (o *Options) events() uint64 { return uint64(o.Rate * o.For.Seconds()) }

// Failure is an error with its fix.
type Failure struct{ Cause, Fix string }

func (f *Failure) Error() string { return f.Cause }

// IsLoopback reports whether a URL is of this machine, as far as its host tells.
func IsLoopback(raw string) bool {
	u, err := signing.ParseURL(raw)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// Test is a run.
type Test struct {
	o       Options
	phase   atomic.Value // string
	sender  *sender
	traffic *traffic
	tally   *tally
	follow  *follower // nil without a log
}

// New makes a run. It sends nothing yet.
func New(o Options) (*Test, error) {
	signer, err := signing.NewSigner(o.Secret)
	if err != nil {
		return nil, err
	}
	t := &Test{o: o, sender: newSender(&o, signer), traffic: newTraffic(&o), tally: newTally()}
	t.phase.Store("sent")
	return t, nil
}

// Progress is what a run has done so far.
type Progress struct {
	Phase            string // a word for what it does now: sent, settling, deleting
	Answered, Failed uint64
	P99              time.Duration // of the answers
}

// Progress returns what has been done so far. It can be called at any time.
func (t *Test) Progress() Progress {
	t.tally.mu.Lock()
	defer t.tally.mu.Unlock()
	accepted := t.tally.accepted()
	return Progress{t.phase.Load().(string), t.tally.service.n, t.tally.service.n - accepted, t.tally.latency.quantile(.99)}
}

// Run tests the way with a probe, sends the events, and waits until they are settled. When
// ctx ends it stops sending, and the result is that of what was sent. The error says why
// the run ended early; there may be a result too. What is wrong with the deployment is a
// [Failure]; how it bears the load is the result.
func (t *Test) Run(ctx context.Context) (*Result, error) {
	if failure := t.probe(ctx, "nothing was sent", t.o.Log); failure != nil {
		return nil, failure
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := t.checkRoom(ctx); err != nil {
		return nil, err
	}
	sending, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var before backlog
	unfollow := func() {}
	if t.o.Log != nil {
		var err error
		if before, err = readBacklog(ctx, t.o.Log); err == nil {
			t.follow = &follower{traffic: t.traffic, useless: stop, parked: map[string]uint64{}}
			unfollow, err = t.follow.follow(ctx, t.o.Log)
		}
		if err != nil {
			t.o.NoLog, t.follow = err.Error(), nil
		}
	}
	p := plan{rate: t.o.Rate, events: t.o.events(), limit: t.o.For, event: t.traffic.event}
	if p.rate > 0 { // what was due in time may be late
		p.limit += min(t.o.For/20, time.Second)
	}
	t.sender.send(sending, p, t.tally)
	r := t.result(sending.Err() == nil && !t.tally.tooManyFailures())
	if t.follow != nil {
		t.phase.Store("settling")
		t.settle(sending, r, before)
		t.follow.await(sending)
		unfollow()
		r.EndToEnd, r.NoEndToEnd = t.follow.endToEnd()
	}
	r.Left = t.cleanUp(ctx, min(t.traffic.people, t.tally.taken))
	r.Left.Events += r.Accepted
	judge(r, t.facts())
	failure, _ := context.Cause(sending).(*Failure)
	if failure == nil && t.tally.tooManyFailures() {
		failure = t.explainFailures(ctx)
	}
	if failure != nil {
		r.Verdict, r.Fix = failure.Cause, failure.Fix
		return r, failure
	}
	return r, nil
}

// probe sends a probe and returns what is wrong on the way, to the worker if there is a log.
func (t *Test) probe(ctx context.Context, sent string, log *eventlog.Log) *Failure {
	p := probe.Probe{URL: t.o.URL, Secret: t.o.Secret, NoLog: "not asked"}
	if log != nil {
		p.Log, p.NoLog, p.Workers = log, "", func() ([]lag.Worker, error) { return lag.Workers(log) }
	}
	r := p.Run(ctx)
	if r.OK || ctx.Err() != nil || r.StoppedAt == probe.AtLog { // acknowledged, which is enough
		return nil
	}
	return &Failure{fmt.Sprintf("%s: the probe stopped at %s: %s", sent, r.StoppedAt, r.Cause), r.Fix}
}

const (
	// storedExtra is about what the log stores of an event besides its body, in bytes: see
	// BENCHMARKS.md, a million people in the log.
	storedExtra = 400

	// closedRate is about what a receiver takes in a closed loop, see BENCHMARKS.md.
	closedRate = 10_000
)

// checkRoom returns an error when the events would take more than half of the space that
// the log has.
func (t *Test) checkRoom(ctx context.Context) error {
	if t.o.Log == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	b, err := t.o.Log.Backlog(ctx)
	if err != nil {
		return nil // the run says what is wrong with the log
	}
	free := ^uint64(0)
	if b.MaxBytes > 0 {
		free = b.MaxBytes - min(b.Bytes, b.MaxBytes)
	}
	if roll, err := lag.RollCall(t.o.Log); err == nil {
		for _, r := range roll.Receivers {
			if r.Disk != nil {
				free = min(free, r.Disk.Free)
			}
		}
	}
	events := t.o.events()
	if events == 0 {
		events = uint64(closedRate * t.o.For.Seconds())
	}
	if needs := events * uint64(max(t.o.BodySize, 0)+storedExtra); needs > free/2 {
		return &Failure{
			fmt.Sprintf("nothing was sent: the events would take %s of the event log, which has room for %s", units.Bytes(needs), units.Bytes(free)),
			"lower --rate, --for or --body-size: a full log refuses Clerk's events too",
		}
	}
	return nil
}

// settle waits for the workers, unless the user has ended the run, and completes the result.
func (t *Test) settle(ctx context.Context, r *Result, before backlog) {
	at, err := readBacklog(context.WithoutCancel(ctx), t.o.Log)
	if err != nil {
		return
	}
	r.Pending = new(at.last - min(at.settled, at.last))
	after, err := settle(ctx, t.o.Log, at.last)
	if err != nil {
		return
	}
	if after.settled >= at.last {
		r.SettledAfter = new(after.at.Sub(at.at).Seconds())
	}
	r.SettledPerSecond = new(float64(after.settled-min(before.settled, after.settled)) / after.at.Sub(t.tally.began).Seconds())
}

// Delete deletes the first n people of an earlier run that was killed, as the end of that
// run would have done. The error is a [Failure].
func (t *Test) Delete(ctx context.Context, run string) (Left, error) {
	if failure := t.probe(ctx, "nothing was sent", nil); failure != nil {
		return Left{}, failure
	}
	t.traffic.run = run
	return t.cleanUp(ctx, t.traffic.people), ctx.Err()
}

// cleanUp deletes the first n made-up people. It goes on when ctx has ended.
func (t *Test) cleanUp(ctx context.Context, n uint64) (left Left) {
	if n == 0 {
		return left
	}
	t.phase.Store("deleting")
	left.Run, left.Tombstones = t.traffic.run, n
	people := make([]uint64, n)
	for i := range people {
		people[i] = uint64(i)
	}
	ctx = context.WithoutCancel(ctx)
	for pause := time.Second; ; pause *= 2 {
		deletes := newTally()
		deletes.keep = true
		p := plan{rate: t.o.Rate, events: uint64(len(people))}
		if p.rate > 0 { // nobody waits long for it
			p.rate = max(p.rate, MostElsewhere)
		}
		p.event = func(n uint64, due time.Time) (string, []byte) { return t.traffic.deletion(people[n], due) }
		t.sender.send(ctx, p, deletes)
		left.Events += deletes.accepted()
		var again []uint64
		for _, n := range deletes.failed {
			again = append(again, people[n])
		}
		for n := deletes.taken; n < uint64(len(people)); n++ { // it stopped at the failures
			again = append(again, people[n])
		}
		if people = again; len(people) == 0 || pause > 4*time.Second {
			left.Alive = uint64(len(people))
			return left
		}
		waitUntil(ctx, time.Now().Add(pause))
	}
}

// explainFailures returns why the run ended: what a probe finds, or else the answer that
// came most.
func (t *Test) explainFailures(ctx context.Context) *Failure {
	const sent = "the run was ended by its failures"
	if failure := t.probe(ctx, sent, nil); failure != nil {
		return failure
	}
	var most answer
	for _, a := range slices.SortedFunc(maps.Keys(t.tally.answers), compareAnswers) {
		if a.Status != http.StatusNoContent && t.tally.answers[a] > t.tally.answers[most] {
			most = a
		}
	}
	f := &Failure{fmt.Sprintf("%s: %s, %d times, although a probe passes", sent, most, t.tally.answers[most]), "check the logs of the proxy and of clerksync there"}
	switch {
	case most.Status == http.StatusRequestEntityTooLarge:
		f.Fix = fmt.Sprintf("let the proxy in front of clerksync take bodies up to %s, or lower --body-size", units.Bytes(clerk.MaxBody))
	case most.Status == http.StatusServiceUnavailable, most.Status == http.StatusTooManyRequests:
		f.Fix = "lower --rate or --connections: it takes a single event, and not these at once"
	}
	return f
}

// String writes an answer for people.
func (a answer) String() string {
	switch {
	case a.Status == 0 && a.Reason == "timeout":
		return "no answer within " + signing.Timeout.String()
	case a.Status == 0:
		return "no answer (" + a.Reason + ")"
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Status, a.Reason))
}
