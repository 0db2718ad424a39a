package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/clerksync/clerksync/internal/clerk"
)

// table is the table of a synced kind. RowGetMany reads its rows.
type table struct {
	kind  clerk.Kind
	name  string
	write func(*Store, context.Context, pgx.Tx, *batch) error // writes what won
}

// tables has a table for every kind of clerk.Kinds, parents before the tables that refer
// to them.
var tables = []table{
	{clerk.KindUser, "users", (*Store).writeUsers},
	{clerk.KindOrganization, "organizations", (*Store).writeOrganizations},
	{clerk.KindMembership, "org_memberships", (*Store).writeMemberships},
}

// tableNames returns the tables that the worker writes, in the same order.
func tableNames() []string {
	var names []string
	for _, t := range tables {
		names = append(names, t.name)
	}
	return append(names, "entity_heads")
}
