package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

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

// ErrPending means that the tables are older than this version of clerksync.
var ErrPending = errors.New("pending migrations")

// Migrate creates the schema, if it is missing, and applies the pending migrations, one
// process at a time. It returns those that it applied.
func (s *Store) Migrate(ctx context.Context) ([]Migration, error) {
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

// CheckMigrated returns [ErrPending] when there are pending migrations.
func (s *Store) CheckMigrated(ctx context.Context) error {
	all, err := s.Migrations(ctx)
	if err != nil {
		return err
	}
	pending := 0
	for _, m := range all {
		if m.AppliedAt.IsZero() {
			pending++
		}
	}
	if pending > 0 {
		return fmt.Errorf("%w: %d of %d", ErrPending, pending, len(all))
	}
	return nil
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
