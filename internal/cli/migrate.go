package cli

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/clerksync/clerksync/internal/store"
)

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Create the schema if it is missing, and apply pending migrations."`
	Down   migrateDownCmd   `cmd:"" help:"Take back an optional set of migrations."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations. Exit status 1 when some are pending."`
}

type migrateUpCmd struct {
	deploymentRows `embed:""`
	With           []string `name:"with" enum:"rls" placeholder:"SET" help:"Also apply an optional set of migrations, from now on with every upgrade. rls: row-level security, for applications that read as the role clerk_reader."`
}

type migration struct {
	Set       string     `json:"set"` // "" of the tables themselves, or rls
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	AppliedAt *time.Time `json:"applied_at"` // null when pending
}

func (c *migrateUpCmd) Run(s *session) error {
	st, err := c.openStore(s)
	if err != nil {
		return err
	}
	defer st.Close()
	applied, err := st.Migrate(s.ctx, c.With...)
	if err != nil {
		return withMigrationHint(err)
	}
	if c.JSON {
		return s.printJSON(listMigrations(applied))
	}
	if len(applied) == 0 {
		fmt.Fprintln(s.stdout, "nothing to do: the tables are up to date")
	}
	for _, m := range applied {
		fmt.Fprintf(s.stdout, "applied %s\n", m.Name)
	}
	return nil
}

type migrateDownCmd struct {
	deploymentRows `embed:""`
	With           string `name:"with" enum:"rls" required:"" placeholder:"SET" help:"rls: the policies and the functions. The role clerk_reader stays."`
}

func (c *migrateDownCmd) Run(s *session) error {
	st, err := c.openStore(s)
	if err != nil {
		return err
	}
	defer st.Close()
	removed, err := st.RemoveRLS(s.ctx)
	switch {
	case errors.Is(err, store.ErrRLSUsed):
		return withHint(err, "nothing was changed: drop these, such as with DROP POLICY and ALTER COLUMN … DROP DEFAULT, then run it again")
	case err != nil:
		return err
	case c.JSON:
		return s.printJSON(struct {
			Removed bool `json:"removed"`
		}{removed})
	case removed:
		fmt.Fprintln(s.stdout, "removed rls: row-level security is off again on the three tables, and clerk_reader has no rights left on them")
	default:
		fmt.Fprintln(s.stdout, "nothing to do: the tables have no rls")
	}
	return nil
}

type migrateStatusCmd struct {
	deploymentRows `embed:""`
}

func (c *migrateStatusCmd) Help() string {
	return "Numbers that are missing in the list were never released."
}

func (c *migrateStatusCmd) Run(s *session) error {
	st, err := c.openStore(s)
	if err != nil {
		return err
	}
	defer st.Close()
	all, err := st.Migrations(s.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := s.printJSON(listMigrations(all)); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "MIGRATION\tAPPLIED")
		for _, m := range all {
			applied := "pending"
			if !m.AppliedAt.IsZero() {
				applied = m.AppliedAt.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%s\n", m.Name, applied)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return withMigrationHint(st.CheckMigrated(s.ctx))
}

// withMigrationHint adds the next step to an error of [store.Store.CheckMigrated].
func withMigrationHint(err error) error {
	switch {
	case errors.Is(err, store.ErrPending):
		return withHint(err, "clerksync migrate up applies them")
	case errors.Is(err, store.ErrNewer):
		return withHint(err, "run the newer clerksync that migrated them")
	}
	return err
}

func listMigrations(all []store.Migration) []migration {
	list := []migration{}
	for _, m := range all {
		item := migration{Set: m.Set, Version: m.Version, Name: m.Name}
		if !m.AppliedAt.IsZero() {
			item.AppliedAt = &m.AppliedAt
		}
		list = append(list, item)
	}
	return list
}
