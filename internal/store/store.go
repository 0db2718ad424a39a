package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/clerksync/clerksync/internal/store/db"
)

// Options say how to reach the database.
type Options struct {
	URL             string // connection string or URL, as libpq and pgx take it
	Schema          string // of the tables
	ApplicationName string // shown in pg_stat_activity
	MaxConns        int32  // 0 is pgx's default
}

// Store is a pool of connections to the database of the synced tables.
type Store struct {
	pool   *pgxpool.Pool
	q      *db.Queries
	schema string
}

// Open makes a pool. It does not connect: see [Store.Ping].
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Schema == "" {
		return nil, errors.New("open database: no schema is named")
	}
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		// The error of the parser quotes the URL, and with it the password.
		return nil, fmt.Errorf("parse DATABASE_URL: it is not of the form postgres://user:password@host:port/database")
	}
	if o.MaxConns > 0 {
		config.MaxConns = o.MaxConns
	}
	if o.ApplicationName == "" {
		o.ApplicationName = "clerksync"
	}
	setDefault := func(key, value string) {
		if _, ok := config.ConnConfig.RuntimeParams[key]; !ok {
			config.ConnConfig.RuntimeParams[key] = value
		}
	}
	config.ConnConfig.RuntimeParams["search_path"] = pgx.Identifier{o.Schema}.Sanitize()
	setDefault("application_name", o.ApplicationName)
	setDefault("timezone", "UTC")
	setDefault("statement_timeout", "60s")
	setDefault("idle_in_transaction_session_timeout", "60s")
	// Every statement finds its rows by key, in the order in which it is written:
	// what is given first, then what belongs to it. A plan made while a table was
	// still small, or not yet analyzed, could read all of it, and would be kept while
	// the table grows.
	setDefault("enable_seqscan", "off")
	setDefault("enable_hashjoin", "off")
	setDefault("enable_mergejoin", "off")
	setDefault("join_collapse_limit", "1")
	setDefault("jit", "off")
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &Store{pool: pool, q: db.New(), schema: o.Schema}, nil
}

// Ping checks that the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return &pingError{err}
	}
	return nil
}

// pingError says in one line what pgx says in one for every address it tried.
type pingError struct{ err error }

func (e *pingError) Error() string {
	return "ping PostgreSQL: " + strings.Join(strings.Fields(e.err.Error()), " ")
}

func (e *pingError) Unwrap() error { return e.err }

// Close closes the connections, after those in use have come back.
func (s *Store) Close() { s.pool.Close() }

// Pool is the pool itself, for tests and tools that look at the tables.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }
