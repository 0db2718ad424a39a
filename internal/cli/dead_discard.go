package cli

import (
	"fmt"
	"slices"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/units"
)

type deadDiscardCmd struct {
	Yes             bool `name:"yes" short:"y" help:"Do not ask for confirmation."`
	letterSelection `embed:""`
	deploymentLog   `embed:""`
}

func (c *deadDiscardCmd) Run(s *session) error {
	f, selected, err := c.read()
	if err != nil {
		return err
	}
	log, done, err := c.openLog(s)
	if err != nil {
		return err
	}
	defer done()
	var seqs []uint64
	err = s.eachLetter(log, f, func(m *eventlog.Message) error {
		if selected(m) {
			seqs = append(seqs, m.Seq)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, seq := range c.Seqs {
		if !slices.Contains(seqs, seq) {
			return withHint(fmt.Errorf("no dead letter %d is selected: nothing was discarded", seq), "clerksync dead ls lists them")
		}
	}
	if len(seqs) == 0 {
		return errNoLetters
	}
	if err := s.confirm(c.Yes, fmt.Sprintf("Delete %s for good?", units.Count(len(seqs), "dead letter", "dead letters"))); err != nil {
		return err
	}
	bar := c.progress(s, uint64(len(seqs)), "discarded")
	defer bar.finish()
	for i, seq := range seqs {
		if err := log.RemoveLetters(s.ctx, seq); err != nil {
			bar.finish()
			if s.ctx.Err() != nil {
				return fmt.Errorf("stopped: %d of %d were discarded", i, len(seqs))
			}
			return fmt.Errorf("%d of %d were discarded: %w", i, len(seqs), err)
		}
		bar.set(uint64(i + 1))
	}
	bar.finish()
	if c.JSON {
		return s.printJSON(struct {
			Discarded int `json:"discarded"`
		}{len(seqs)})
	}
	fmt.Fprintf(s.stdout, "%s discarded\n", units.Count(len(seqs), "dead letter", "dead letters"))
	return nil
}
