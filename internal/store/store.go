package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/clerksync/clerksync/internal/store/db"
)

// Options configure a Store.
type Options struct {
	URL             string // connection string or URL, as pgx accepts it
	Schema          string // of the tables
	ApplicationName string // shown in pg_stat_activity
	MaxConns        int32  // 0 is pgx's default
}

// Store reads and writes the synced tables. It is safe for concurrent use.
type Store struct {
	pool   *pool
	q      *db.Queries
	schema string
}

// Open makes a pool of connections. It does not connect: see [Store.Ping].
func Open(ctx context.Context, o Options) (*Store, error) {
	pool, err := openPool(ctx, o, map[string]string{
		"statement_timeout":                   "60s",
		"idle_in_transaction_session_timeout": "60s",
		// Every statement finds its rows by key, and joins in the order in which it is
		// written. A plan made while a table was small, or not analyzed, could read all of it,
		// and would be kept while the table grows.
		"enable_seqscan":      "off",
		"enable_hashjoin":     "off",
		"enable_mergejoin":    "off",
		"join_collapse_limit": "1",
		"jit":                 "off",
		// So the plan does not depend on what is in the tables, and is made once for a session.
		// Left to itself, PostgreSQL plans some statements at each execution, which takes longer
		// than to execute them: it takes an array of unknown length for a long one.
		"plan_cache_mode": "force_generic_plan",
		// It also takes an unknown LIMIT for a tenth of all rows, and would start workers for a
		// page that the session reads sooner by itself.
		"max_parallel_workers_per_gather": "0",
	})
	if err != nil {
		return nil, err
	}
	return &Store{pool: pool, q: db.New(), schema: o.Schema}, nil
}

// startup are the parameters of a URL that a session begins with. A pooler knows them too,
// but for the last. All others are set when it has begun.
var startup = []string{"application_name", "client_encoding", "datestyle", "timezone", "standard_conforming_strings", "options"}

// openPool makes a pool whose connections have the given settings, unless the URL has
// others.
func openPool(ctx context.Context, o Options, settings map[string]string) (*pool, error) {
	if o.Schema == "" {
		return nil, errors.New("open database: no schema is named")
	}
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, parseError(err)
	}
	if o.MaxConns > 0 {
		config.MaxConns = o.MaxConns
	}
	params := config.ConnConfig.RuntimeParams
	delete(params, "pgbouncer") // Prisma's, in URLs that Supabase shows
	for name, value := range params {
		if !slices.Contains(startup, strings.ToLower(name)) {
			settings[name] = value
			delete(params, name)
		}
	}
	settings["search_path"] = pgx.Identifier{o.Schema}.Sanitize()
	for name, value := range map[string]string{"application_name": cmp.Or(o.ApplicationName, "clerksync"), "timezone": "UTC"} {
		params[name] = cmp.Or(params[name], value)
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	return newPool(ctx, config, settings)
}

// Ping checks that the database answers.
func (s *Store) Ping(ctx context.Context) error { return wrap("ping PostgreSQL", s.pool.Ping(ctx)) }

// Close waits for connections in use to be returned, and closes them all.
func (s *Store) Close() { s.pool.Close() }

// Pool returns the pool, for tests that query the tables.
func (s *Store) Pool() *pgxpool.Pool { return s.pool.Pool }
