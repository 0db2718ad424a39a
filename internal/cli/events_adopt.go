package cli

import "fmt"

type eventsAdoptCmd struct {
	Yes            bool `name:"yes" short:"y" help:"Do not ask for confirmation."`
	deploymentRows `embed:""`
}

func (c *eventsAdoptCmd) Help() string {
	return `The database knows the event log that its rows come from, and a worker refuses to start
with another one. After the log was lost, or restored from a backup, this lets the next
worker that starts go on with the log that it then has. It needs only the database.

Rows and heads stay as they are, and order events as before. Heads keep the sequences of
the former log: verify reports a sequence beyond this log as of another log. People
who were erased are erased again from the new log. Events that the former log held and no
worker applied are gone: have Svix send them again (Clerk dashboard → Webhooks → your
endpoint), or import an export of the former log.

--json prints an object: adopted (false when no log was recorded).`
}

func (c *eventsAdoptCmd) Run(s *session) error {
	st, err := c.openStore(s)
	if err != nil {
		return err
	}
	defer st.Close()
	row, err := st.EventLog(s.ctx)
	if err != nil {
		return err
	}
	if row != nil {
		question := fmt.Sprintf("Forget the event log %s, of which events up to %d were applied?", row.LogID, row.Settled)
		if err := s.confirm(c.Yes, question); err != nil {
			return err
		}
	}
	known, err := st.ForgetLog(s.ctx)
	switch {
	case err != nil:
		return err
	case c.JSON:
		return s.printJSON(struct {
			Adopted bool `json:"adopted"`
		}{known})
	case !known:
		fmt.Fprintln(s.stdout, "nothing to do: the database knows no event log, and the next worker records its own")
		return nil
	}
	fmt.Fprintln(s.stdout, "the next worker that starts goes on with its event log")
	return nil
}
