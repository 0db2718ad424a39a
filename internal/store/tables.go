package store

import "github.com/clerksync/clerksync/internal/clerk"

// table is the table of a synced kind. RowGetMany reads its rows.
type table struct {
	kind clerk.Kind
	name string
}

// tables has a table for every kind of clerk.Kinds, parents before the tables that refer
// to them.
var tables = []table{
	{clerk.KindUser, "users"},
	{clerk.KindOrganization, "organizations"},
	{clerk.KindMembership, "org_memberships"},
}

// tableNames returns the tables that the worker writes, in the same order.
func tableNames() []string {
	var names []string
	for _, t := range tables {
		names = append(names, t.name)
	}
	return append(names, "seats", "entity_heads")
}
