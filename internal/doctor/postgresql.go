package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/clerksync/clerksync/internal/config"
	"github.com/clerksync/clerksync/internal/store"
)

// checkPostgreSQL checks the server, the tables and the privileges.
func checkPostgreSQL(ctx context.Context, r *Report, o Options) {
	const tables, privileges = "tables", "privileges"
	const durability, clock = "postgresql_durability", "postgresql_clock"
	if o.Store == nil {
		r.Checks = append(r.Checks, *o.NoStore)
		r.unchecked("PostgreSQL was not reached", tables, privileges, durability, clock)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	i, err := o.Store.Inspect(ctx)
	if err != nil {
		r.add("postgresql", Failed, err.Error(), "check the server's log")
		r.unchecked("PostgreSQL did not answer", tables, privileges, durability, clock)
		return
	}
	writes := o.Roles.Has(config.RoleWorker)
	switch {
	case i.VersionNumber < store.OldestVersion*10000:
		r.add("postgresql", Failed, "PostgreSQL "+i.Version+" is too old", fmt.Sprintf("move to PostgreSQL %d or newer", store.OldestVersion))
	case writes && i.ReadOnlyFault() != nil:
		f := i.ReadOnlyFault()
		r.add("postgresql", Failed, f.Seen, f.Fix)
	case i.Pooled:
		r.ok("postgresql", "PostgreSQL "+i.Version+", behind a pooler")
	default:
		r.ok("postgresql", "PostgreSQL "+i.Version)
	}

	if i.SchemaExists && !i.SchemaUsable {
		r.unchecked(fmt.Sprintf("%s may not use schema %s", i.Role, i.Schema), tables)
	} else {
		checkTables(ctx, r, o.Store, i, writes)
	}
	if writes {
		checkPrivileges(r, i)
	} else {
		r.unchecked("they are the worker's, which is no role of this process", privileges)
	}

	var off []string
	if i.Fsync == "off" {
		off = append(off, "fsync")
	}
	if i.FullPageWrites == "off" {
		off = append(off, "full_page_writes")
	}
	switch {
	case len(off) > 0:
		r.add(durability, Warning, strings.Join(off, " and ")+" off: after a crash of that machine the tables may be broken", "turn it on in postgresql.conf")
	case i.SynchronousCommit == "off":
		r.add(durability, Warning, "synchronous_commit off: after a crash of that machine rows of the last moment are missing, and their events count as applied", "turn it on, or run clerksync replay --since 10m after a crash")
	default:
		r.ok(durability, "what is committed is on the disk")
	}
	checkClock(r, clock, "PostgreSQL", i.ClockOff)
}

// fixNoTables is for a database that may be the wrong one.
const fixNoTables = "correct DATABASE_URL or CLERKSYNC_SCHEMA; when the database is new, clerksync migrate up"

func checkTables(ctx context.Context, r *Report, st *store.Store, i *store.Inspection, writes bool) {
	switch err := st.CheckMigrated(ctx); {
	case errors.Is(err, store.ErrPending) && !i.SchemaExists:
		r.add("tables", Failed, fmt.Sprintf("there is no schema %s: %v", i.Schema, err), fixNoTables)
	case errors.Is(err, store.ErrPending) && noneApplied(ctx, st):
		r.add("tables", Failed, fmt.Sprintf("there are no tables in schema %s: %v", i.Schema, err), fixNoTables)
	case errors.Is(err, store.ErrPending):
		r.add("tables", Failed, err.Error(), "clerksync migrate up")
	case errors.Is(err, store.ErrNewer):
		r.add("tables", Failed, err.Error(), "run the newer clerksync that migrated them")
	case err != nil && !writes: // a login that reads has no right to the list of migrations
		r.unchecked(err.Error(), "tables")
	case err != nil:
		r.add("tables", Failed, err.Error(), "run clerksync doctor as the role that the worker uses")
	default:
		r.ok("tables", "all migrations are applied in schema "+i.Schema)
	}
}

func noneApplied(ctx context.Context, st *store.Store) bool {
	all, err := st.Migrations(ctx)
	return err == nil && !slices.ContainsFunc(all, func(m store.Migration) bool { return !m.AppliedAt.IsZero() })
}

func checkPrivileges(r *Report, i *store.Inspection) {
	switch {
	case !i.SchemaExists:
		r.unchecked("there are no tables", "privileges")
	case i.PrivilegeFault() != nil:
		f := i.PrivilegeFault()
		r.add("privileges", Failed, f.Seen, f.Fix)
	default:
		r.ok("privileges", i.Role+" may do what the worker has to")
	}
}
