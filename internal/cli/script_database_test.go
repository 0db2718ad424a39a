package cli_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/clerksync/clerksync/internal/testkit"
)

// sql URL QUERY: prints the rows, a line each, tabs between the columns.
func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "sql URL QUERY")
	rows, err := query(args[0], args[1])
	ts.Check(err)
	io.WriteString(ts.Stdout(), rows)
}

// waitsql URL QUERY ROWS: waits until the query has these rows, with | between
// columns and ; between rows.
func cmdWaitSQL(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "waitsql URL QUERY ROWS")
	want := strings.NewReplacer("|", "\t", ";", "\n").Replace(args[2])
	ts.Check(await(func() (bool, string) {
		rows, err := query(args[0], args[1])
		if err != nil {
			return false, err.Error()
		}
		return strings.TrimSuffix(rows, "\n") == want, rows
	}))
}

func query(url, statement string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var text strings.Builder
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return "", err
		}
		for i, v := range values {
			if i > 0 {
				text.WriteByte('\t')
			}
			if v == nil {
				v = "NULL"
			}
			fmt.Fprint(&text, v)
		}
		text.WriteByte('\n')
	}
	return text.String(), rows.Err()
}

// database VARIABLE: makes an empty database.
func cmdDatabase(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "database VARIABLE")
	ts.Setenv(args[0], testkit.EmptyDatabaseURL(ts.Value(testKey{}).(testing.TB)))
}

// hold NAME URL STATEMENT: runs a statement in a transaction that stays open.
func cmdHold(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "hold NAME URL STATEMENT")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, args[1])
	ts.Check(err)
	ts.Defer(func() { conn.Close(context.Background()) })
	_, err = conn.Exec(ctx, "BEGIN; "+args[2])
	ts.Check(err)
	ts.Value(backgroundKey{}).(*background).held[args[0]] = conn
}

// release NAME: rolls the transaction back.
func cmdRelease(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "release NAME")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(ts.Value(backgroundKey{}).(*background).held[args[0]].Close(ctx))
}
