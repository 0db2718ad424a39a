package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/erasure"
	"github.com/clerksync/clerksync/internal/eventlog"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/units"
)

type eraseCmd struct {
	User       string `arg:"" help:"Clerk id, user_…, or e-mail address of the user."`
	DryRun     bool   `name:"dry-run" help:"List what would be removed, and remove nothing."`
	Yes        bool   `name:"yes" short:"y" help:"Do not ask for confirmation, which only a terminal is asked for."`
	deployment `embed:""`
}

func (c *eraseCmd) Help() string {
	return `Erases a user now, without waiting for CLERKSYNC_ERASE_AFTER. The row is reduced to its
ids, as by a delete. The events of the user and of the user's memberships, which have the
name in them too, are removed from the event log and the dead letters and overwritten in
the log's files. The tombstone stays, so that a late event does not bring the user back.
This cannot be undone: restore has no event left to apply.

Clerk goes on to send events of a user who is not deleted there. They are stored, change
nothing, and are erased by the worker soon after.

Not reached: exports, backups and replicas of files; old row versions, which PostgreSQL
keeps until VACUUM, and its write-ahead log; events that hold the address but not the
id, such as invitations, which are stored only when you name them.

--json prints an object: clerk_id, dry_run, row (the user was not deleted before),
events and dead_letters (how many were, or would be, removed).`
}

func (c *eraseCmd) Run(s *session) error {
	st, log, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	kind, id, err := findEntity(s.ctx, st, c.User)
	if err != nil {
		return err
	}
	if kind != clerk.KindUser {
		return usageError("only users are erased: user_… or an e-mail address")
	}
	eraser := erasure.Eraser{Log: log, Store: st}
	person, err := eraser.Find(s.ctx, id)
	switch {
	case errors.Is(err, store.ErrUnknown):
		return withHint(err, "check the id")
	case err != nil:
		return err
	}
	if c.DryRun {
		return c.preview(s, person)
	}
	live := person.Head == nil || !person.Head.Deleted
	if isTerminal(s.stderr) && !person.Nothing() {
		state := "is deleted"
		if live {
			state = "is not deleted in Clerk as far as is known"
		}
		question := fmt.Sprintf("%s %s. Erase %s and %s for good?", id, state,
			units.Count(len(person.Events), "event", "events"), units.Count(len(person.Letters), "dead letter", "dead letters"))
		if err := s.confirm(c.Yes, question); err != nil {
			return err
		}
	}
	bar := c.progress(s, uint64(len(person.Events)+len(person.Letters)), "erased")
	defer bar.finish()
	eraser.Progress = bar.set
	events, letters, err := eraser.Erase(s.ctx, person)
	bar.finish()
	if err != nil {
		return withHint(err, "run it again, or let the worker finish it")
	}
	if c.JSON {
		return s.printJSON(erasedJSON{id, false, live, events, letters})
	}
	if events+letters == 0 && !live {
		fmt.Fprintf(s.stdout, "%s was erased before: nothing was left\n", id)
		return nil
	}
	fmt.Fprintf(s.stdout, "%s is erased: %s and %s were removed\n", id, units.Count(events, "event", "events"), units.Count(letters, "dead letter", "dead letters"))
	return nil
}

type erasedJSON struct {
	ID      string `json:"clerk_id"`
	DryRun  bool   `json:"dry_run"`
	Row     bool   `json:"row"` // it was, or would be, reduced: the user was not deleted before
	Events  int    `json:"events"`
	Letters int    `json:"dead_letters"`
}

func (c *eraseCmd) preview(s *session, p *erasure.Person) error {
	live := p.Head == nil || !p.Head.Deleted
	if c.JSON {
		return s.printJSON(erasedJSON{p.ID, true, live, len(p.Events), len(p.Letters)})
	}
	if live {
		fmt.Fprintf(s.stdout, "row of %s: would be reduced to its ids\n", p.ID)
	}
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	list := func(what string, all []*eventlog.Message) {
		for _, m := range all {
			e := m.Event.Envelope
			if e.Type == "" { // the subject has none
				e.Type, e.EntityID = "?", "?"
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", what, m.Seq, e.Type, e.EntityID, m.StoredAt.UTC().Format(time.RFC3339))
		}
	}
	list("event", p.Events)
	list("dead letter", p.Letters)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "%s and %s would be removed\n", units.Count(len(p.Events), "event", "events"), units.Count(len(p.Letters), "dead letter", "dead letters"))
	return nil
}
