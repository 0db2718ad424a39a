package cli

import (
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/units"
)

type deadShowCmd struct {
	Seq           uint64 `arg:"" help:"Sequence of the dead letter, from dead ls."`
	Raw           bool   `name:"raw" help:"Print only the body, byte for byte as it was received."`
	deploymentLog `embed:""`
}

func (c *deadShowCmd) Help() string {
	return `--json prints an object: the fields of dead ls --json, and event, which is the object
that events show --json prints.`
}

func (c *deadShowCmd) Run(s *session) error {
	if c.Raw && c.JSON {
		return errRawJSON
	}
	log, done, err := c.openLog(s)
	if err != nil {
		return err
	}
	defer done()
	m, err := log.GetLetter(s.ctx, c.Seq)
	switch {
	case errors.Is(err, eventlog.ErrNotFound):
		return withHint(fmt.Errorf("there is no dead letter %d", c.Seq), "clerksync dead ls lists them")
	case err != nil:
		return err
	case c.Raw:
		_, err := s.stdout.Write(m.Event.Body)
		return err
	}
	e, l := describe(m), newLetterJSON(m)
	e.Type = l.Type
	if c.JSON {
		return s.printJSON(struct {
			letterJSON
			Event *wholeEvent `json:"event"`
		}{l, e})
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "reason\t%s: %s\n", oneLine(l.Reason), eventlog.Reasons[l.Reason])
	fmt.Fprintf(w, "error\t%s\n", oneLine(l.Error))
	fmt.Fprintf(w, "tried\t%s, first %s, last %s\n", units.Count(int(l.Attempts), "time", "times"), l.FirstAt.Format(time.RFC3339), l.LastAt.Format(time.RFC3339))
	inLog := "never there: it was parked on its arrival"
	if l.LogSeq != 0 {
		inLog = strconv.FormatUint(l.LogSeq, 10)
	}
	fmt.Fprintf(w, "in the log\t%s\n\n", inLog)
	if err := w.Flush(); err != nil {
		return err
	}
	return s.printEvent(e, m.Event.Body)
}
