package cli

import (
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/lag"
	"github.com/clerksync/clerksync/internal/units"
)

type eventsLostCmd struct {
	Acknowledge    bool `name:"acknowledge" help:"Declare that the loss is dealt with: the verdict is no longer lost."`
	deploymentRows `embed:""`
}

func (c *eventsLostCmd) Help() string {
	return `Events are lost when they leave the log before they are applied: somebody set a limit on
the stream, purged it, or deleted events from it. clerksync itself removes no event that
is not applied, except those of an erased person. The log has no copy of them. To get them
again: Clerk dashboard → Webhooks → your endpoint, "Recover failed messages" or "Replay".

--json prints null, or an object: events (how many), from and to (sequences of the log
between which they were), since. Exit status 1 while events are lost.`
}

func (c *eventsLostCmd) Run(s *session) error {
	st, err := c.openStore(s)
	if err != nil {
		return err
	}
	defer st.Close()
	lost, err := lag.ReadLost(s.ctx, st)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := s.printJSON(lost); err != nil {
			return err
		}
	}
	if lost == nil {
		if !c.JSON {
			fmt.Fprintln(s.stdout, "no event was lost")
		}
		return nil
	}
	seen := fmt.Sprintf("%s left the log before being applied, of the sequences %d..%d, noticed at %s",
		units.Count(lost.Events, "event", "events"), lost.From, lost.To, lost.Since.Format(time.RFC3339))
	if !c.Acknowledge {
		return withHint(fmt.Errorf("%s", seen), `have Svix send them again (clerksync events lost --help), then clerksync events lost --acknowledge`)
	}
	done, err := st.AcknowledgeLost(s.ctx, lost.To)
	switch {
	case err != nil:
		return err
	case !done:
		return withHint(fmt.Errorf("more events were lost meanwhile: nothing was acknowledged"), "run it again")
	case !c.JSON:
		fmt.Fprintf(s.stdout, "acknowledged: %s\n", seen)
	}
	return nil
}
