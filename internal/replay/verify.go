package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
)

// Finding is a difference and its reason.
type Finding struct {
	*store.Difference
	Reason Reason
	Why    string
}

const (
	// maxFindings bounds the findings kept; the rest is counted.
	maxFindings = 10_000

	// maxRounds bounds the comparisons of tables that change.
	maxRounds = 5

	// roundDelay gives a worker time to apply what is stored.
	roundDelay = 500 * time.Millisecond
)

// Report is the result of a verification.
type Report struct {
	Events      Counts // of the rebuild
	From, To    uint64 // sequences of the log that were applied
	Findings    []*Finding
	ByReason    map[Reason]int
	Differences int
}

// Unexplained returns how many differences are not expected.
func (r *Report) Unexplained() int {
	total := 0
	for reason, n := range r.ByReason {
		if !reason.Explained() {
			total += n
		}
	}
	return total
}

// Verifier proves that the tables follow from the log: it applies the whole log to scratch
// tables and compares.
type Verifier struct {
	Log   *eventlog.Log
	Store *store.Store

	Appliers int // of the rebuild, as in [Options]
	Batch    int

	Rebuilding func(r *Events, total uint64) // before a part of the log is applied
	Comparing  func()                        // before the tables are compared
}

// Run verifies. It can run concurrently with workers: rows that they change are compared
// again.
func (v *Verifier) Run(ctx context.Context) (_ *Report, err error) {
	scratch, drop, err := v.Store.CreateScratch(ctx)
	if err != nil {
		return nil, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, drop(ctx))
	}()
	// Before the rebuild: a delete that a restore lifted does not count there either.
	if err := v.Store.CopyRestored(ctx, scratch); err != nil {
		return nil, err
	}
	report := &Report{}
	for round := 1; ; round++ {
		if err := v.rebuild(ctx, scratch, report); err != nil {
			return nil, err
		}
		if err := v.compare(ctx, scratch, report); err != nil {
			return nil, err
		}
		if report.ByReason[Moved]+report.ByReason[Pending] == 0 || round == maxRounds {
			return report, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(roundDelay):
		}
	}
}

// rebuild applies the events of the log that it has not applied before.
func (v *Verifier) rebuild(ctx context.Context, scratch *store.Store, report *Report) error {
	state, err := v.Log.State(ctx)
	if err != nil {
		return err
	}
	if report.From == 0 {
		report.From = state.First
	}
	if report.To >= state.Last {
		return nil
	}
	scan, err := v.Log.Events(ctx, eventlog.Filter{From: report.To + 1, To: state.Last}, false)
	if err != nil {
		return err
	}
	defer scan.Close()
	total, err := scan.Total(ctx)
	if err != nil {
		return err
	}
	r := NewEvents(scan, nil, Options{Apply: scratch.Apply, Appliers: v.Appliers, Batch: v.Batch})
	if v.Rebuilding != nil {
		v.Rebuilding(r, total)
	}
	if err := r.Run(ctx); err != nil {
		return fmt.Errorf("rebuild the tables from the log: %w", err)
	}
	c := r.Counts()
	report.Events = Counts{
		report.Events.Applied + c.Applied, report.Events.Stale + c.Stale, report.Events.Duplicate + c.Duplicate,
		report.Events.Ignored + c.Ignored, report.Events.Dead + c.Dead,
	}
	report.To = state.Last
	return nil
}

func (v *Verifier) compare(ctx context.Context, scratch *store.Store, report *Report) error {
	if v.Comparing != nil {
		v.Comparing()
	}
	state, err := v.Log.State(ctx)
	if err != nil {
		return err
	}
	e := &explainer{log: v.Log, state: state, to: report.To, tables: v.Store, scratch: scratch, differ: map[entity]bool{}, claims: map[string]string{}}
	if e.parked, err = v.parked(ctx); err != nil {
		return err
	}
	report.Findings, report.Differences, report.ByReason = nil, 0, map[Reason]int{}
	var followers []*Finding
	err = v.Store.Compare(ctx, scratch, func(d *store.Difference) error {
		f := &Finding{Difference: d}
		if f.Reason, f.Why, err = e.explain(ctx, d); err != nil {
			return err
		}
		if f.Reason == Follows {
			followers = append(followers, f)
		} else {
			e.note(f)
		}
		report.Differences++
		report.ByReason[f.Reason]++
		if len(report.Findings) < maxFindings {
			report.Findings = append(report.Findings, f)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range followers {
		report.ByReason[f.Reason]--
		if f.Reason, f.Why, err = e.explainFollower(ctx, f.Difference); err != nil {
			return err
		}
		report.ByReason[f.Reason]++
	}
	maps.DeleteFunc(report.ByReason, func(_ Reason, n int) bool { return n == 0 })
	return nil
}

// parked returns the sequences of the events that are dead letters.
func (v *Verifier) parked(ctx context.Context) (map[uint64]bool, error) {
	letters, err := v.Log.Letters(ctx, eventlog.Filter{})
	if err != nil {
		return nil, err
	}
	parked := map[uint64]bool{}
	err = letters.Each(ctx, func(m *eventlog.Message) error {
		parked[m.Letter().LogSeq] = true
		return nil
	})
	return parked, err
}
