package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/replay"
)

type deadRetryCmd struct {
	letterSelection `embed:""`
	deployment      `embed:""`
	instance        `embed:""`
}

func (c *deadRetryCmd) Help() string {
	return `Applies the events of dead letters as the worker does. A letter whose event is applied,
or was applied before, is removed; one that fails again stays, with its attempts counted.
An event that was parked on its arrival is stored in the event log first.

Exit status 1 when any of them is still dead. With --json the last line is the counts.`
}

func (c *deadRetryCmd) Run(s *session) error {
	if err := c.resolve(&c.local); err != nil {
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
	d := config.Default()
	return c.retryLetters(s, log, f, replay.LettersOptions{
		Options: replay.Options{Apply: st.Apply, Appliers: d.Appliers, Batch: d.Batch}, Log: log, Select: selected, Instance: c.InstanceID,
	})
}

// retryLetters tries to apply dead letters, for dead retry and for replay --dead.
func (l *local) retryLetters(s *session, log *eventlog.Log, f eventlog.Filter, o replay.LettersOptions) error {
	scan, err := log.Letters(s.ctx, f)
	if err != nil {
		return err
	}
	defer scan.Close()
	total, err := scan.Total(s.ctx)
	if err != nil {
		return err
	}
	bar := l.progress(s, total, "retried")
	o.Logger = bar.logger(s.logger)
	again := replay.NewLetters(scan, o)
	stop := bar.follow(func() uint64 { return again.Counts().Total() })
	err = again.Run(s.ctx)
	stop()
	counts := again.Counts()
	if err == nil && counts.Total() == 0 {
		return errNoLetters
	}
	if printErr := l.printCounts(s, counts, false); printErr != nil {
		return printErr
	}
	switch {
	case errors.Is(err, context.Canceled):
		return withHint(errStopped, "run it again for the rest: letters that were retried are done")
	case err != nil:
		return err
	case counts.Dead > 0:
		return withHint(fmt.Errorf("%d of %d are still dead", counts.Dead, counts.Total()), "clerksync dead ls shows why")
	}
	return nil
}
