package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/clerksync/clerksync/internal/units"
	"github.com/clerksync/clerksync/sql"
	"github.com/clerksync/clerksync/sql/rls"
)

// RLS names the optional set of migrations that brings row-level security.
const RLS = "rls"

// set is a set of migrations.
type set struct {
	name  string // "" of the tables themselves
	table string // goose's list of those that are applied, in the schema of the synced tables
	files fs.FS
}

var (
	tableSet = set{"", "clerksync_migrations", sql.Migrations}
	rlsSet   = set{RLS, "clerksync_rls_migrations", rls.Migrations}
)

// chosenSet is a set that the tables have: their own, or an optional one of which a
// migration was applied.
type chosenSet struct {
	set
	applied []int64 // versions
}

// Migration is one step of the schema.
type Migration struct {
	Set       string // "" of the tables themselves, or [RLS]
	Version   int64  // within the set
	Name      string
	AppliedAt time.Time // zero when it is pending
}

var (
	// ErrPending means that the tables are older than this version of clerksync.
	ErrPending = errors.New("pending migrations")

	// ErrNewer means that the tables have migrations that this version of clerksync does
	// not know.
	ErrNewer = errors.New("the tables are newer than this clerksync")

	// ErrRLSUsed means that policies, column defaults or views of an application call the
	// functions of the set [RLS].
	ErrRLSUsed = errors.New("row-level security is still used")
)

// pendingError is an [ErrPending] with its numbers.
type pendingError struct{ pending, all int }

func (e *pendingError) Error() string {
	return fmt.Sprintf("%v: %d of %d", ErrPending, e.pending, e.all)
}

func (e *pendingError) Unwrap() error { return ErrPending }

// Migrate creates the schema, if it is missing, and applies the pending migrations, one
// process at a time. with names optional sets, as [RLS]; one that was chosen before stays
// chosen. It returns those that it applied, also with an error, which is [ErrNewer] when
// the tables are newer.
func (s *Store) Migrate(ctx context.Context, with ...string) ([]Migration, error) {
	migrated := s.CheckMigrated(ctx)
	if migrated != nil && !errors.Is(migrated, ErrPending) {
		return nil, migrated
	}
	sets, err := s.chosenSets(ctx)
	if err != nil {
		return nil, err
	}
	if len(sets) == 1 && slices.Contains(with, RLS) {
		sets = append(sets, chosenSet{set: rlsSet})
	} else if migrated == nil {
		return nil, nil
	}
	if err := s.pool.needSession(ctx); err != nil {
		return nil, wrap("migrate", err)
	}
	if err := s.createSchema(ctx); err != nil {
		return nil, err
	}
	var applied []Migration
	for _, set := range sets {
		provider, err := s.provider(set.set)
		if err != nil {
			return applied, err
		}
		defer provider.Close()
		err = retryLocks(ctx, func() error {
			results, err := provider.Up(ctx)
			if partial, ok := errors.AsType[*goose.PartialError](err); ok {
				results = partial.Applied
			}
			for _, r := range results {
				applied = append(applied, set.migration(r.Source, time.Now()))
			}
			return err
		})
		if err != nil {
			return applied, wrap("migrate", err)
		}
	}
	return applied, nil
}

const (
	// lockTimeout is how long a migration waits for a lock on a table. Everybody else who
	// needs the table waits behind it.
	lockTimeout = "500ms"

	// A migration that does not get a lock is tried again after lockPause, for lockPatience.
	lockPause    = time.Second
	lockPatience = 5 * time.Minute
)

// retryLocks calls f until it gets its locks. An application that reads for long holds it up,
// and it holds up nobody.
func retryLocks(ctx context.Context, f func() error) error {
	for began := time.Now(); ; {
		err := f()
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || pg.Code != pgerrcode.LockNotAvailable || time.Since(began) > lockPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lockPause):
		}
	}
}

// RemoveRLS takes back the set [RLS], and reports whether the tables had it. It changes
// nothing when it returns [ErrRLSUsed], whose text names all that uses it.
func (s *Store) RemoveRLS(ctx context.Context) (bool, error) {
	if sets, err := s.chosenSets(ctx); err != nil || len(sets) == 1 {
		return false, err
	}
	if err := s.pool.needSession(ctx); err != nil {
		return true, wrap("remove row-level security", err)
	}
	provider, err := s.provider(rlsSet)
	if err != nil {
		return false, err
	}
	defer provider.Close()
	err = retryLocks(ctx, func() error { _, err := provider.DownTo(ctx, 0); return err })
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == pgerrcode.DependentObjectsStillExist {
		return true, fmt.Errorf("%w by: %s", ErrRLSUsed, pg.Message)
	}
	return true, wrap("remove row-level security", err)
}

// Migrations returns all migrations of the chosen sets, applied and pending. It changes
// nothing.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	sets, err := s.chosenSets(ctx)
	if err != nil {
		return nil, err
	}
	var all []Migration
	for _, set := range sets {
		at, err := s.appliedAt(ctx, set)
		if err != nil {
			return nil, wrap("read migrations", err)
		}
		provider, err := s.provider(set.set)
		if err != nil {
			return nil, err
		}
		defer provider.Close()
		for _, source := range provider.ListSources() {
			all = append(all, set.migration(source, at[source.Version]))
		}
	}
	return all, nil
}

// appliedAt returns when the migrations of a set were applied. goose itself would need a
// session for that, and create its table in order to read it.
func (s *Store) appliedAt(ctx context.Context, set chosenSet) (map[int64]time.Time, error) {
	at := make(map[int64]time.Time, len(set.applied))
	if len(set.applied) == 0 {
		return at, nil
	}
	rows, err := s.pool.Query(ctx, "SELECT version_id, tstamp FROM "+set.table+" WHERE is_applied")
	if err != nil {
		return nil, err
	}
	var version int64
	var applied time.Time
	_, err = pgx.ForEachRow(rows, []any{&version, &applied}, func() error {
		at[version] = applied
		return nil
	})
	return at, err
}

// CheckMigrated returns [ErrNewer] when the tables are newer than this version of
// clerksync, and [ErrPending] when they are older. It costs about as much as [Store.Ping].
func (s *Store) CheckMigrated(ctx context.Context) error {
	sets, err := s.chosenSets(ctx)
	if err != nil {
		return err
	}
	all, pending, unknown := 0, 0, 0
	for _, set := range sets {
		known, err := set.versions()
		if err != nil {
			return err
		}
		all += len(known)
		pending += len(known)
		for _, version := range set.applied {
			if known[version] {
				pending--
			} else {
				unknown++
			}
		}
	}
	switch {
	case unknown > 0:
		return fmt.Errorf("%w: it does not know %s of theirs", ErrNewer, units.Count(unknown, "migration", "migrations"))
	case pending > 0:
		return &pendingError{pending, all}
	}
	return nil
}

// chosenSets returns the set of the tables themselves, and after it the optional one if it
// was chosen. Without that it is one statement.
func (s *Store) chosenSets(ctx context.Context) ([]chosenSet, error) {
	sets := []chosenSet{{set: tableSet}}
	var version int64
	var optional bool
	rows, err := s.pool.Query(ctx, "SELECT version_id, to_regclass('"+rlsSet.table+"') IS NOT NULL FROM "+tableSet.table+" WHERE is_applied AND version_id > 0")
	if err == nil {
		_, err = pgx.ForEachRow(rows, []any{&version, &optional}, func() error {
			sets[0].applied = append(sets[0].applied, version)
			return nil
		})
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == pgerrcode.UndefinedTable {
		return sets, s.checkUsage(ctx)
	}
	if err != nil || !optional {
		return sets, wrap("read migrations", err)
	}
	rows, err = s.pool.Query(ctx, "SELECT version_id FROM "+rlsSet.table+" WHERE is_applied AND version_id > 0")
	if err != nil {
		return sets, wrap("read migrations", err)
	}
	applied, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if len(applied) > 0 { // goose's table is there after an attempt that failed, too
		sets = append(sets, chosenSet{rlsSet, applied})
	}
	return sets, wrap("read migrations", err)
}

// checkUsage returns an error when the schema is there, but closed to this login:
// PostgreSQL then says that its tables do not exist.
func (s *Store) checkUsage(ctx context.Context) error {
	var open bool
	err := s.pool.QueryRow(ctx, "SELECT coalesce(has_schema_privilege(to_regnamespace(current_setting('search_path')), 'USAGE'), true)").Scan(&open)
	if err == nil && !open {
		return &serverError{"read migrations", "permission denied for schema " + s.schema, pgerrcode.InsufficientPrivilege}
	}
	return wrap("read migrations", err)
}

// versions returns the versions of the migrations in this program.
func (s *set) versions() (map[int64]bool, error) {
	files, err := fs.Glob(s.files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	known := make(map[int64]bool, len(files))
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			return nil, fmt.Errorf("read the migrations: %w", err)
		}
		known[version] = true
	}
	return known, nil
}

func (s *set) migration(source *goose.Source, appliedAt time.Time) Migration {
	return Migration{Set: s.name, Version: source.Version, Name: path.Join(s.name, source.Path), AppliedAt: appliedAt}
}

func (s *Store) createSchema(ctx context.Context) error {
	// CREATE SCHEMA IF NOT EXISTS needs a privilege that a careful operator does not
	// grant, even when there is nothing to create.
	var exists bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regnamespace(current_setting('search_path')) IS NOT NULL").Scan(&exists); err != nil {
		return wrap("find the schema", err)
	}
	if exists {
		return nil
	}
	// IF NOT EXISTS alone fails for one of two processes that create it concurrently.
	// For the numbers see lockScratch.
	return wrap("create the schema", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(1668050795, 64)"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{s.schema}.Sanitize())
		return err
	}))
}

// setUpMigration gives a session the settings of the pool's, but for the time limits: moving
// all rows of a table may take long.
func (s *Store) setUpMigration(ctx context.Context, conn *pgx.Conn) error {
	settings := s.pool.settings()
	settings["lock_timeout"], settings["statement_timeout"] = lockTimeout, "0"
	for name, value := range settings {
		if _, err := conn.Exec(ctx, "SELECT set_config($1, $2, false)", name, value); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) provider(set set) (*goose.Provider, error) {
	// Retry every second, for five minutes. goose's five seconds would delay the start of
	// the second of two processes by as much.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("make the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, stdlib.OpenDB(*s.pool.Config().ConnConfig, stdlib.OptionAfterConnect(s.setUpMigration)), set.files,
		goose.WithSessionLocker(locker),
		goose.WithTableName(set.table),
		goose.WithDisableGlobalRegistry(true),
	)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, nil
}
