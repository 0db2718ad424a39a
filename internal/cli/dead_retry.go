package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
)

type deadRetryCmd struct {
	letterSelection `embed:""`
	deployment      `embed:""`
	instance        `embed:""`
}

func (c *deadRetryCmd) Help() string {
	return `Applies the events of dead letters as the worker does. One that gets in, or is
found to be there, is removed; one that is dead once more stays, with one attempt
more. An event that was parked on its arrival is stored in the event log first. Exit
status 1 when anything is still dead. With --json the last line is the counts.`
}

func (c *deadRetryCmd) Run(s *session) error {
	if err := c.check(); err != nil {
		return err
	}
	f, selected, err := c.read()
	if err != nil {
		return err
	}
	st, log, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	defaults := config.Default()
	r := retry{
		place: &c.place, instance: &c.instance, log: log, store: st,
		options: replay.Options{Apply: st.Apply, Appliers: defaults.Appliers, Batch: defaults.Batch},
	}
	return r.run(s, f, selected)
}

// retry tries dead letters again.
type retry struct {
	place    *place
	instance *instance
	log      *eventlog.Log
	store    *store.Store
	options  replay.Options
}

func (r *retry) run(s *session, f eventlog.Filter, selected func(*eventlog.Message) bool) error {
	scan, err := r.log.Letters(s.ctx, f)
	if err != nil {
		return err
	}
	defer scan.Close()
	total, err := scan.Total(s.ctx)
	if err != nil {
		return err
	}
	bar := r.place.progress(s, total, "retried")
	r.options.Logger = bar.logger(s.logger)
	again := replay.NewLetters(scan, replay.LettersOptions{
		Options: r.options, Log: r.log, Select: selected, Instance: r.instance.find(r.place),
	})
	stop := bar.follow(func() uint64 { return again.Counts().Total() })
	err = again.Run(s.ctx)
	stop()
	counts := again.Counts()
	if err == nil && counts.Total() == 0 {
		return errNoLetters
	}
	if printErr := r.place.printCounts(s, counts, false); printErr != nil {
		return printErr
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("stopped; what was retried is done: run it again for the rest")
	case err != nil:
		return err
	case counts.Dead > 0:
		return fmt.Errorf("%d of %d are still dead; clerksync dead ls tells why", counts.Dead, counts.Total())
	}
	return nil
}
