package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
	"github.com/clerksync/clerksync/internal/store/db"
)

// The statements of this file are not in queries/: they name two schemas, one of them
// made at run time, and sqlc knows one.

// Difference is a row, or a head, that differs from the log.
type Difference struct {
	Table   string
	Kind    clerk.Kind // of the entity
	ClerkID string     // of a seat: of the one of its two memberships that was created later
	OnlyIn  string     // "tables" or "log"; "" when it is in both
	Columns []ColumnDifference

	// The heads of the entity, which explain it; nil when there is none.
	HeadInTables, HeadInLog *db.EntityHead
}

// ColumnDifference is a column that differs in a row that is in both.
type ColumnDifference struct {
	Name     string          `json:"name"`
	InTables json.RawMessage `json:"tables"`
	InLog    json.RawMessage `json:"log"`
}

// comparison is a table to compare: which rows a and b of the two copies belong together,
// and the entity that they are about, as SQL.
type comparison struct {
	table, kind, id, on string
	skip                []string // columns that may differ in equal tables
}

func comparisons() []comparison {
	const id, on = "COALESCE(a.clerk_id, b.clerk_id)", "a.clerk_id = b.clerk_id"
	var all []comparison
	for _, t := range tables {
		all = append(all, comparison{t.name, "'" + string(t.kind) + "'", id, on, []string{"email_rank"}}) // an older clerksync wrote none
	}
	const later = "CASE WHEN b IS NULL OR (a.membership_created_at, a.membership_id) > (b.membership_created_at, b.membership_id) THEN a.membership_id ELSE b.membership_id END"
	return append(
		all,
		comparison{"seats", "'" + string(clerk.KindMembership) + "'", later, "a.user_id = b.user_id AND a.org_id = b.org_id", nil},
		comparison{
			"entity_heads", "COALESCE(a.kind, b.kind)", id, "a.kind = b.kind AND " + on,
			[]string{"applied_at", "event_seq", "erasing", "erased_at", "restored_at"},
		},
	)
}

// Compare calls f for every difference between these tables and a scratch copy, see
// [Store.CreateScratch], ordered by table, kind and Clerk id. It reads one snapshot of
// both, and expects the same events to be applied to both.
//
// Columns that an operator added to the tables are not compared.
func (s *Store) Compare(ctx context.Context, scratch *Store, f func(*Difference) error) error {
	// Autovacuum may not have analyzed it yet, and Compare reads all of it.
	if _, err := scratch.pool.Exec(ctx, "ANALYZE "+strings.Join(tableNames(), ", ")); err != nil {
		return wrap("analyze the scratch tables", err)
	}
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return wrap("compare", err)
	}
	defer tx.Rollback(ctx) // nothing was written
	// Unlike any other statement of ours, these read whole tables.
	if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on;
		SET LOCAL max_parallel_workers_per_gather = DEFAULT; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0`); err != nil {
		return wrap("compare", err)
	}
	for _, c := range comparisons() {
		if err := c.run(ctx, tx, s.schema, scratch.schema, f); err != nil {
			return err
		}
	}
	return nil
}

// CopyRestored tells a scratch copy which tombstones were lifted by hand, before events are
// applied to it: the deletes before that do not count, and what the restore gave follows
// from the other events. These heads are below version zero, so that any event wins, and a
// stub too.
func (s *Store) CopyRestored(ctx context.Context, scratch *Store) error {
	return wrap("copy restored heads", pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, strings.NewReplacer(
			"{live}", pgx.Identifier{s.schema}.Sanitize(), "{scratch}", pgx.Identifier{scratch.schema}.Sanitize(),
		).Replace(`SET LOCAL statement_timeout = 0;
			INSERT INTO {scratch}.entity_heads (kind, clerk_id, deleted, updated_at, event_at, event_id, event_seq, applied_at, restored_at)
			SELECT kind, clerk_id, false, to_timestamp(-1), to_timestamp(-1), '', 0, now(), restored_at
			FROM {live}.entity_heads WHERE restored_at IS NOT NULL`))
		return err
	}))
}

func (c comparison) run(ctx context.Context, tx pgx.Tx, live, scratch string, f func(*Difference) error) error {
	doing := "compare " + c.table
	found, err := tx.Query(ctx, `SELECT attname::text FROM pg_attribute
		WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, pgx.Identifier{scratch, c.table}.Sanitize())
	if err != nil {
		return wrap(doing, err)
	}
	columns, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return wrap(doing, err)
	}
	columns = slices.DeleteFunc(columns, func(name string) bool { return slices.Contains(c.skip, name) })

	rows, err := tx.Query(ctx, c.statement(live, scratch, columns), columns)
	if err != nil {
		return wrap(doing, err)
	}
	defer rows.Close()
	for rows.Next() {
		d := &Difference{Table: c.table}
		if err := rows.Scan(&d.Kind, &d.ClerkID, &d.OnlyIn, &d.Columns, &d.HeadInTables, &d.HeadInLog); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		if err := f(d); err != nil {
			return err
		}
	}
	return wrap(doing, rows.Err())
}

// statement joins the two tables and returns the rows that differ. $1 is the names of
// the columns. The subqueries run only for rows that differ.
func (c comparison) statement(live, scratch string, columns []string) string {
	var a, b, differ []string
	for i, name := range columns {
		name = pgx.Identifier{name}.Sanitize()
		a, b = append(a, "a."+name), append(b, "b."+name)
		differ = append(differ, fmt.Sprintf(`CASE WHEN a.%s IS DISTINCT FROM b.%[1]s
			THEN jsonb_build_object('name', ($1::text[])[%d], 'tables', to_jsonb(a.%[1]s), 'log', to_jsonb(b.%[1]s)) END`, name, i+1))
	}
	return strings.NewReplacer(
		"{live}", pgx.Identifier{live}.Sanitize(), "{scratch}", pgx.Identifier{scratch}.Sanitize(), "{table}", c.table,
		"{kind}", c.kind, "{id}", c.id, "{on}", c.on, "{differ}", strings.Join(differ, ", "), "{a}", strings.Join(a, ", "), "{b}", strings.Join(b, ", "),
	).Replace(`
		SELECT d.kind, d.id, d.only_in, d.columns,
			(SELECT to_jsonb(h) FROM {live}.entity_heads h WHERE h.kind = d.kind AND h.clerk_id = d.id),
			(SELECT to_jsonb(h) FROM {scratch}.entity_heads h WHERE h.kind = d.kind AND h.clerk_id = d.id)
		FROM (
			SELECT {kind} AS kind, {id} AS id,
				CASE WHEN b IS NULL THEN 'tables' WHEN a IS NULL THEN 'log' ELSE '' END AS only_in,
				CASE WHEN NOT (a IS NULL OR b IS NULL) THEN to_jsonb(array_remove(ARRAY[{differ}], NULL)) END AS columns
			FROM {live}.{table} a FULL JOIN {scratch}.{table} b ON {on}
			WHERE ROW({a}) IS DISTINCT FROM ROW({b})
		) AS d
		ORDER BY 1, 2`)
}
