package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/clerksync/clerksync/internal/replay"
	"github.com/clerksync/clerksync/internal/store"
	"github.com/clerksync/clerksync/internal/units"
)

type restoreCmd struct {
	Entity     string `arg:"" help:"Clerk id of the deleted entity: user_…, org_… or orgmem_…."`
	Yes        bool   `name:"yes" short:"y" help:"Do not ask for confirmation."`
	deployment `embed:""`
}

func (c *restoreCmd) Help() string {
	return `Undoes a delete: applies the newest event of the entity that the log still holds, and
those of the memberships that were removed with it. That delete, and every other that
Clerk emitted before now, no longer counts, not even in a replay; a later one does.
Nothing changes in Clerk.

--json prints an object: clerk_id, state, seq (of the event), memberships (the restored
ones).`
}

func (c *restoreCmd) Run(s *session) error {
	st, log, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	kind, id, err := findEntity(s.ctx, st, c.Entity)
	if err != nil {
		return err
	}
	r := replay.Restorer{Log: log, Store: st}
	plan, err := r.Prepare(s.ctx, kind, id)
	switch {
	case errors.Is(err, store.ErrNotDeleted):
		return withHint(fmt.Errorf("%w: there is nothing to restore", err), "clerksync show %s", id)
	case errors.Is(err, replay.ErrNothingLeft):
		return withHint(err, "an export may have it: clerksync events import, then restore again")
	case errors.Is(err, store.ErrUnknown):
		return withHint(err, "check the id")
	case err != nil:
		return err
	}
	if !c.JSON {
		fmt.Fprintf(s.stdout, "%s was deleted at %s.\nIt would come back as of %s (event %d), with %s.\n", id, plan.DeletedAt.UTC().Format(time.RFC3339),
			time.UnixMilli(plan.Entity.Change.Version.EventAt).UTC().Format(time.RFC3339), plan.Entity.Seq, units.Count(len(plan.Memberships), "membership", "memberships"))
	}
	if err := s.confirm(c.Yes, "Restore it?"); err != nil {
		return err
	}
	switch err := r.Restore(s.ctx, plan); {
	case errors.Is(err, replay.ErrUnfinished):
		return withHint(err, "clerksync replay --reapply applies it")
	case errors.Is(err, store.ErrNotDeleted):
		return withHint(fmt.Errorf("%w: it was restored concurrently", err), "clerksync show %s", id)
	case err != nil:
		return fmt.Errorf("%w: nothing was changed", err)
	}
	// The tables decide: a membership returns only with a live user and organization.
	out := struct {
		ID          string   `json:"clerk_id"`
		State       string   `json:"state"`
		Seq         uint64   `json:"seq"`
		Memberships []string `json:"memberships"`
	}{ID: id, Seq: plan.Entity.Seq, Memberships: []string{}}
	shown, err := st.Show(s.ctx, kind, id)
	if err != nil {
		return err
	}
	out.State = shown.State()
	for _, m := range plan.Memberships {
		shown, err := st.Show(s.ctx, m.Change.Kind, m.Change.ID)
		if err != nil {
			return err
		}
		if shown.Row != nil {
			out.Memberships = append(out.Memberships, m.Change.ID)
		}
	}
	if c.JSON {
		return s.printJSON(out)
	}
	fmt.Fprintf(s.stdout, "%s is %s again, with %s\n", id, out.State, units.Count(len(out.Memberships), "membership", "memberships"))
	if n := len(plan.Memberships) - len(out.Memberships); n > 0 {
		fmt.Fprintf(s.stdout, "%s did not come back: its user or organization is deleted, or a newer membership took its place\n", units.Count(n, "membership", "memberships"))
	}
	return nil
}
