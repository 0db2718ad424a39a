package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/source"
	"github.com/clerksync/clerksync/internal/units"
)

type pullCmd struct {
	ID         string `arg:"" name:"id" help:"Clerk id of a user, user_…, or an organization, org_…."`
	backendAPI `embed:""`
	deployment `embed:""`
}

func (c *pullCmd) Help() string {
	return `Fetches one user or organization from Clerk's Backend API now, with its memberships,
stores them as snapshots in the event log, and waits until a worker has applied them. It is
for an entity whose webhook has not come. What is newer in the tables stays.`
}

func (c *pullCmd) Run(s *session) error {
	kind, ok := clerk.KindOfID(c.ID)
	if !ok || kind == clerk.KindMembership || !clerk.ValidToken(c.ID) {
		return withHint(usageError("not a Clerk id of the form user_… or org_…: "+oneLine(c.ID)), "clerksync show prints the id of an e-mail address")
	}
	client, err := c.client(&c.local)
	if err != nil {
		return err
	}
	defer client.Close()
	st, log, done, err := c.open(s)
	if err != nil {
		return err
	}
	defer done()
	puller := source.NewPuller(source.PullerOptions{Client: client, Log: log, Store: st, InstanceID: c.InstanceID, Logger: s.logger})
	defer puller.Close()
	pulled, err := puller.Pull(s.ctx, c.ID)
	switch {
	case errors.Is(err, context.Canceled):
		return errStopped
	case errors.Is(err, source.ErrNotApplied):
		return withHint(fmt.Errorf("pull %s: %w", c.ID, err), "clerksync lag shows why")
	case errors.Is(err, source.ErrUnknown):
		return withHint(fmt.Errorf("pull %s: nothing was stored: %w", c.ID, err), "it may be deleted, or of another instance than CLERK_SECRET_KEY")
	case err != nil && pulled == nil:
		return withHint(fmt.Errorf("pull %s: nothing was stored: %w", c.ID, err), "%s", cmp.Or(apiHint(err), "run it again later"))
	case err != nil:
		return withHint(fmt.Errorf("pull %s: %w: not all of it is in the event log", c.ID, err), "run it again: what is stored is not stored twice")
	}
	if c.JSON {
		return s.printJSON(struct {
			Kind        clerk.Kind `json:"kind"`
			ID          string     `json:"clerk_id"`
			Memberships int        `json:"memberships"`
			Stored      uint64     `json:"stored"`
			Present     uint64     `json:"present"`
		}{pulled.Kind, c.ID, pulled.Memberships, pulled.Counts.Stored, pulled.Counts.Present})
	}
	fmt.Fprintf(s.stdout, "pulled %s with %s: %s; all are applied\n", c.ID,
		units.Count(pulled.Memberships, "membership", "memberships"), snapshots(pulled.Counts))
	return nil
}
