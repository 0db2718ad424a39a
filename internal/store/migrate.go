package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/clerksync/clerksync/internal/units"
	"github.com/clerksync/clerksync/sql"
)

// migrationsTable is goose's list of applied migrations, in the schema of the synced
// tables.
const migrationsTable = "clerksync_migrations"

// Migration is one step of the schema.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // zero when it is pending
}

var (
	// ErrPending means that the tables are older than this version of clerksync.
	ErrPending = errors.New("pending migrations")

	// ErrNewer means that the tables have migrations that this version of clerksync does
	// not know.
	ErrNewer = errors.New("the tables are newer than this clerksync")
)

// pendingError is an [ErrPending] with its numbers.
type pendingError struct{ pending, all int }

func (e *pendingError) Error() string {
	return fmt.Sprintf("%v: %d of %d", ErrPending, e.pending, e.all)
}

func (e *pendingError) Unwrap() error { return ErrPending }

// Migrate creates the schema, if it is missing, and applies the pending migrations, one
// process at a time. It returns those that it applied. The error is [ErrNewer] when the
// tables are newer.
func (s *Store) Migrate(ctx context.Context) ([]Migration, error) {
	if err := s.CheckMigrated(ctx); err != nil && !errors.Is(err, ErrPending) {
		return nil, err
	}
	if err := s.createSchema(ctx); err != nil {
		return nil, err
	}
	provider, err := s.migrations()
	if err != nil {
		return nil, err
	}
	defer provider.Close()
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, wrap("migrate", err)
	}
	var applied []Migration
	for _, r := range results {
		applied = append(applied, Migration{Version: r.Source.Version, Name: r.Source.Path, AppliedAt: time.Now()})
	}
	return applied, nil
}

// Migrations returns all migrations, applied and pending. It changes nothing.
func (s *Store) Migrations(ctx context.Context) ([]Migration, error) {
	provider, err := s.migrations()
	if err != nil {
		return nil, err
	}
	defer provider.Close()
	// goose would create its table in order to read it.
	var exists bool
	if err := s.pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", migrationsTable).Scan(&exists); err != nil {
		return nil, wrap("read migrations", err)
	}
	if !exists {
		var pending []Migration
		for _, source := range provider.ListSources() {
			pending = append(pending, Migration{Version: source.Version, Name: source.Path})
		}
		return pending, nil
	}
	status, err := provider.Status(ctx)
	if err != nil {
		return nil, wrap("read migrations", err)
	}
	var all []Migration
	for _, m := range status {
		all = append(all, Migration{Version: m.Source.Version, Name: m.Source.Path, AppliedAt: m.AppliedAt})
	}
	return all, nil
}

// CheckMigrated returns [ErrNewer] when the tables are newer than this version of
// clerksync, and [ErrPending] when they are older. It costs about as much as [Store.Ping].
func (s *Store) CheckMigrated(ctx context.Context) error {
	known, err := knownVersions()
	if err != nil {
		return err
	}
	applied, err := s.appliedVersions(ctx)
	if err != nil {
		return err
	}
	pending, unknown := len(known), 0
	for _, version := range applied {
		if known[version] {
			pending--
		} else {
			unknown++
		}
	}
	switch {
	case unknown > 0:
		return fmt.Errorf("%w: it does not know %s of theirs", ErrNewer, units.Count(unknown, "migration", "migrations"))
	case pending > 0:
		return &pendingError{pending, len(known)}
	}
	return nil
}

// appliedVersions reads goose's table; without it no migration is applied.
func (s *Store) appliedVersions(ctx context.Context) ([]int64, error) {
	rows, _ := s.pool.Query(ctx, "SELECT version_id FROM "+migrationsTable+" WHERE is_applied AND version_id > 0") // CollectRows returns its error
	applied, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == pgerrcode.UndefinedTable {
		return nil, nil
	}
	return applied, wrap("read migrations", err)
}

// knownVersions returns the versions of the migrations in this program.
func knownVersions() (map[int64]bool, error) {
	files, err := fs.Glob(sql.Migrations, "*.sql")
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
	// 64 is outside the stripes of UserEmailLockMany.
	return wrap("create the schema", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(1668050795, 64)"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+pgx.Identifier{s.schema}.Sanitize())
		return err
	}))
}

func (s *Store) migrations() (*goose.Provider, error) {
	// Retry every second, for five minutes. goose's five seconds would delay the start of
	// the second of two processes by as much.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("make the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, stdlib.OpenDBFromPool(s.pool), sql.Migrations,
		goose.WithSessionLocker(locker),
		goose.WithTableName(migrationsTable),
		goose.WithDisableGlobalRegistry(true),
	)
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, nil
}
