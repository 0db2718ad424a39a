package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/units"
)

type replayCmd struct {
	DryRun     bool `name:"dry-run" help:"Print what would change, entity by entity, compared with the rows as they are, and write nothing."`
	Reapply    bool `name:"reapply" help:"Also rewrite rows whose version is that of the event: after an update of clerksync that changed the projection, or after rows were changed by hand."`
	Dead       bool `name:"dead" help:"Retry dead letters instead, as clerksync dead retry does."`
	Appliers   int  `name:"appliers" env:"CLERKSYNC_APPLIERS" default:"${appliers}" help:"Batches that are applied concurrently."`
	Batch      int  `name:"batch" env:"CLERKSYNC_BATCH" default:"${batch}" help:"Maximum of events in one transaction."`
	selection  `embed:"" group:"Which events"`
	deployment `embed:""`
	instance   `embed:""`
}

func (c *replayCmd) Help() string {
	return `Applies stored events again, as the worker does, concurrently with running workers. An
event older than the row changes nothing, so a replay is idempotent: one that was stopped
can be run again. Nothing is published.

At the end it prints counts: applied; stale, a newer version is there; duplicate, this
version is there; ignored, the type is not synced; dead, it can never be applied and was
parked. Exit status 1 when any is dead. With --json the last line is the counts as an
object.`
}

func (c *replayCmd) Run(s *session) error {
	if err := config.CheckAppliers(c.Appliers); err != nil {
		return usageError("--appliers: " + err.Error())
	}
	if err := config.CheckBatch(c.Batch); err != nil {
		return usageError("--batch: " + err.Error())
	}
	if err := c.resolve(&c.local); err != nil {
		return err
	}
	if c.Dead && c.DryRun {
		return usageError("--dry-run is for events in the log, not for dead letters")
	}
	filter, err := c.filter()
	if err != nil {
		return err
	}
	st, log, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	if c.Dead {
		return c.retryLetters(s, log, filter, replay.LettersOptions{Options: c.options(st, s.logger), Log: log, Instance: c.InstanceID})
	}

	scan, err := log.Events(s.ctx, filter, false)
	if err != nil {
		return err
	}
	defer scan.Close()
	total, err := scan.Total(s.ctx)
	if err != nil {
		return err
	}
	if total == 0 {
		return s.nothingSelected(log, filter)
	}
	// A few batches are in use, some 20 MB whatever the number of events: collecting as
	// often as Go does by default would cost more than the memory is worth.
	collectGarbageAt(300)
	options, park, planner := c.options(st, s.logger), log, (*replay.Planner)(nil)
	if c.DryRun {
		planner = replay.NewPlanner(st, c.Reapply)
		options.Apply, options.Appliers, options.Logger, park = planner.Apply, 1, slog.New(slog.DiscardHandler), nil
	}
	bar := c.progress(s, total, "replayed")
	if !c.DryRun {
		options.Logger = bar.logger(s.logger)
	}
	r := replay.NewEvents(scan, park, options)
	stop := bar.follow(func() uint64 { return r.Counts().Total() })
	err = r.Run(s.ctx)
	stop()
	counts := r.Counts()
	if err != nil {
		return c.interrupted(s, err, counts, r.Settled())
	}
	if counts.Total() == 0 { // the filter that is applied here left nothing
		return s.nothingSelected(log, filter)
	}
	if planner != nil {
		if err := c.printPlanned(s, planner.Planned()); err != nil {
			return err
		}
	}
	if err := c.printCounts(s, counts, c.DryRun); err != nil {
		return err
	}
	switch {
	case counts.Dead > 0 && c.DryRun:
		return withHint(fmt.Errorf("%s cannot be applied and would be parked", units.Count(int(counts.Dead), "event", "events")), "a replay without --dry-run parks them, and clerksync dead ls shows why")
	case counts.Dead > 0:
		return withHint(fmt.Errorf("%s cannot be applied", units.Count(int(counts.Dead), "event", "events")), "clerksync dead ls shows why")
	}
	return nil
}

func (c *replayCmd) options(st *store.Store, logger *slog.Logger) replay.Options {
	o := replay.Options{Apply: st.Apply, Appliers: c.Appliers, Batch: c.Batch, Logger: logger}
	if c.Reapply {
		o.Apply = st.Reapply
	}
	return o
}

// interrupted prints the counts so far and adds to err how to continue.
func (c *replayCmd) interrupted(s *session, err error, counts replay.Counts, settled uint64) error {
	if !c.DryRun {
		if printErr := c.printCounts(s, counts, false); printErr != nil {
			return printErr
		}
	}
	if errors.Is(err, context.Canceled) {
		err = errStopped
	}
	if settled == 0 || c.DryRun {
		return withHint(err, "run it again: a replay is idempotent")
	}
	return withHint(fmt.Errorf("%w: everything up to %d is done", err, settled), "run it again, or give --seq %d.. to continue there", settled+1)
}

type plannedJSON struct {
	Kind    string   `json:"kind"`
	ID      string   `json:"clerk_id"`
	Action  string   `json:"action"` // created, updated, deleted, removed, unchanged
	Columns []string `json:"columns"`
	Seq     uint64   `json:"seq"` // of the event that would make the row
}

// printPlanned prints the planned changes. Only --json lists rows that would not change.
func (c *replayCmd) printPlanned(s *session, all []replay.Planned) error {
	unchanged := 0
	for _, p := range all {
		if c.JSON {
			line := plannedJSON{string(p.Kind), p.ID, string(p.Action), p.Columns, p.Seq}
			if line.Columns == nil {
				line.Columns = []string{}
			}
			if err := s.printJSONLine(line); err != nil {
				return err
			}
			continue
		}
		if p.Action == store.Unchanged {
			unchanged++
			continue
		}
		fmt.Fprintf(s.stdout, "%-12s %-34s would be %s by event %d", p.Kind, p.ID, p.Action, p.Seq)
		if len(p.Columns) > 0 {
			fmt.Fprintf(s.stdout, ": %s", strings.Join(p.Columns, ", "))
		}
		fmt.Fprintln(s.stdout)
	}
	switch {
	case c.JSON:
	case len(all) == unchanged:
		fmt.Fprintln(s.stdout, "nothing would change")
	case unchanged > 0:
		fmt.Fprintf(s.stdout, "%s the same\n", units.Count(unchanged, "other row would stay", "other rows would stay"))
	}
	return nil
}

func (l *local) printCounts(s *session, counts replay.Counts, dryRun bool) error {
	if l.JSON {
		return s.printJSONLine(counts)
	}
	would := ""
	if dryRun {
		would = "would be "
	}
	_, err := fmt.Fprintf(s.stdout, "%s: %s%d applied, %d stale, %d duplicate, %d ignored, %d dead\n", units.Count(int(counts.Total()), "event", "events"),
		would, counts.Applied, counts.Stale, counts.Duplicate, counts.Ignored, counts.Dead)
	return err
}
