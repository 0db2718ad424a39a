package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/clerksync/clerksync/internal/store/db"
)

// ErrScratchInUse means that another process uses the scratch tables.
var ErrScratchInUse = errors.New("another verify is running")

// ErrMayNotCreate means that the role may not create a schema.
var ErrMayNotCreate = errors.New("the role in DATABASE_URL may not make a schema: GRANT CREATE ON DATABASE to it, or name another that may")

// scratchComment marks a schema that may be dropped.
const scratchComment = "clerksync verify: made and dropped by clerksync"

// maxIdentifier is the length to which PostgreSQL cuts names, in bytes.
const maxIdentifier = 63

// scratchSchema returns the name of the scratch schema. PostgreSQL would cut a long one to
// the name of the synced schema itself.
func scratchSchema(schema string) string {
	const suffix = "_verify"
	end := min(len(schema), maxIdentifier-len(suffix))
	for end > 0 && end < len(schema) && !utf8.RuneStart(schema[end]) {
		end--
	}
	return schema[:end] + suffix
}

// CreateScratch makes an empty copy of the tables in a schema of the same database, to
// apply the log to. It is not crash-safe, and exclusive: the error is [ErrScratchInUse]
// when another process uses it. drop removes it; the next run removes what a killed
// process left.
func (s *Store) CreateScratch(ctx context.Context) (scratch *Store, drop func(context.Context) error, err error) {
	const doing = "make the scratch tables"
	schema := scratchSchema(s.schema)
	if err := s.pool.needSession(ctx); err != nil {
		return nil, nil, wrap(doing, err)
	}
	// The connection holds the lock and does nothing else.
	conn, err := s.pool.session(ctx)
	if err != nil {
		return nil, nil, wrap(doing, err)
	}
	defer func() {
		if err != nil {
			err = wrap(doing, errors.Join(err, closeScratch(context.WithoutCancel(ctx), conn)))
		}
	}()
	if err := lockScratch(ctx, conn, schema); err != nil {
		return nil, nil, err
	}
	if err := dropScratch(ctx, conn, schema); err != nil {
		return nil, nil, err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, fmt.Sprintf("CREATE SCHEMA %s; COMMENT ON SCHEMA %[1]s IS '%s'",
			pgx.Identifier{schema}.Sanitize(), scratchComment))
		return err
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == pgerrcode.InsufficientPrivilege {
		return nil, nil, ErrMayNotCreate
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, dropScratch(context.WithoutCancel(ctx), conn, schema))
		}
	}()
	if scratch, err = s.openScratch(ctx, schema); err != nil {
		return nil, nil, err
	}
	return scratch, func(ctx context.Context) error {
		scratch.Close()
		return wrap("drop the scratch tables", errors.Join(dropScratch(ctx, conn, schema), closeScratch(ctx, conn)))
	}, nil
}

// lockScratch takes the lock of a scratch schema. 1668050795 is "clrk":
// it keeps our locks apart from the application's; 128 keeps this one apart from
// createSchema's.
func lockScratch(ctx context.Context, conn *pgx.Conn, schema string) error {
	// The connection is idle while the log is applied.
	if _, err := conn.Exec(ctx, "SET idle_session_timeout = 0"); err != nil {
		return err
	}
	var locked bool
	err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock(1668050795, hashtext($1) | 128)", schema).Scan(&locked)
	if err == nil && !locked {
		return ErrScratchInUse
	}
	return err
}

// closeScratch unlocks first: PostgreSQL notices a closed connection with a delay.
func closeScratch(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SELECT pg_advisory_unlock_all()")
	return errors.Join(err, conn.Close(ctx))
}

// dropScratch drops a schema only if it is a scratch schema.
func dropScratch(ctx context.Context, conn *pgx.Conn, schema string) error {
	var comment string
	err := conn.QueryRow(ctx, "SELECT COALESCE(obj_description(oid, 'pg_namespace'), '') FROM pg_namespace WHERE nspname = $1", schema).Scan(&comment)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return err
	case comment != scratchComment:
		return fmt.Errorf("there is a schema %s that clerksync did not make: rename or drop it", schema)
	}
	_, err = conn.Exec(ctx, "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
	return err
}

// openScratch opens a store on an empty schema and makes the tables in it.
func (s *Store) openScratch(ctx context.Context, schema string) (*Store, error) {
	settings := s.pool.settings()
	settings["search_path"] = pgx.Identifier{schema}.Sanitize()
	pool, err := newPool(ctx, s.pool.Config(), settings)
	if err != nil {
		return nil, err
	}
	scratch := &Store{pool: pool, q: db.New(), schema: schema}
	if _, err := scratch.Migrate(ctx); err != nil {
		scratch.Close()
		return nil, err
	}
	// A crash may lose them, so they need no write-ahead log. A logged table cannot refer
	// to an unlogged one: parents are last.
	for _, table := range slices.Backward(tableNames()) {
		if _, err := pool.Exec(ctx, "ALTER TABLE "+table+" SET UNLOGGED"); err != nil {
			scratch.Close()
			return nil, err
		}
	}
	return scratch, nil
}
