// Package schema prints the tables that applications read as models of the tools that they
// use. The tables themselves are in sql/: a test compares what is printed with the catalog
// of a migrated database. It needs no database and does not know how rows are written.
package schema

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// The tools that models can be printed for.
const (
	Prisma     = "prisma"
	Drizzle    = "drizzle"
	SQL        = "sql"
	TypeScript = "typescript"
)

// Tools lists the tools.
var Tools = []string{Prisma, Drizzle, SQL, TypeScript}

// nameForm is the form of a schema's name that can be printed into the source of any tool.
var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// Print writes the models for a tool, of the tables in the named schema of PostgreSQL.
func Print(w io.Writer, tool, name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("the schema name %q is not of letters, digits and _ only, which models can hold", name)
	}
	text, ok := map[string]func(string) string{Prisma: prisma, Drizzle: drizzle, SQL: ddl, TypeScript: typescript}[tool]
	if !ok {
		return fmt.Errorf("no such tool: %s; there are %s", tool, strings.Join(Tools, ", "))
	}
	_, err := io.WriteString(w, text(name))
	return err
}

// columnType is a type of PostgreSQL, as its catalog names it.
type columnType string

const (
	typeUUID    columnType = "uuid"
	typeText    columnType = "text"
	typeTexts   columnType = "text[]"
	typeBoolean columnType = "boolean"
	typeJSON    columnType = "jsonb"
	typeTime    columnType = "timestamp with time zone"
)

// table is a table that applications read.
type table struct {
	name    string
	model   string // one of it, in the tools that name types
	note    string
	columns []column
	unique  []string // the columns that are unique together
	indexed string   // a column with an index of its own
	deleted bool     // keeps a row when the entity is deleted
}

type column struct {
	name     string
	kind     columnType
	null     bool
	value    string // the default, as SQL
	collateC bool
	primary  bool
	unique   bool
	whole    bool   // the whole payload: only in the printed SQL
	parent   string // the table that it refers to, and
	parentID string // the column of it
	note     string
}

// camel returns a column's name as it is in JavaScript.
func (c column) camel() string { return camel(c.name) }

// index returns the name of an index: PostgreSQL names those of constraints so.
func (t table) index(suffix string, columns ...string) string {
	return t.name + "_" + strings.Join(columns, "_") + "_" + suffix
}

// models returns the columns that the models have. They leave out the payload: it is most of
// a row's size, has the private metadata, and a role that reads for applications may not
// read it.
func (t table) models() []column {
	return slices.DeleteFunc(slices.Clone(t.columns), func(c column) bool { return c.whole })
}

// tables are the tables that applications read, without the columns that only clerksync
// itself has a use for.
var tables = []table{
	{
		name: "users", model: "User", deleted: true,
		note: "A user. Of one that was deleted in Clerk, only id, clerk_id and deleted_at are left: your foreign keys hold.",
		columns: []column{
			{name: "id", kind: typeUUID, primary: true, note: "Made from clerk_id: the same after a rebuild of the tables."},
			{name: "clerk_id", kind: typeText, collateC: true, unique: true, note: "user_…, the claim sub of a session token."},
			{name: "email", kind: typeText, null: true, unique: true, note: "The primary address, for the one user that holds it. NULL while another user holds it, and without an address."},
			{name: "primary_email", kind: typeText, null: true, note: "The primary address as Clerk has it: two users can claim one."},
			{name: "email_verified", kind: typeBoolean, value: "false"},
			{name: "name", kind: typeText, null: true, note: "First and last name."},
			{name: "first_name", kind: typeText, null: true},
			{name: "last_name", kind: typeText, null: true},
			{name: "username", kind: typeText, null: true},
			{name: "phone_number", kind: typeText, null: true},
			{name: "image_url", kind: typeText, null: true},
			{name: "external_id", kind: typeText, null: true, note: "Your own id of the user, if you set one in Clerk."},
			{name: "public_metadata", kind: typeJSON, value: "'{}'"},
			{name: "banned", kind: typeBoolean, value: "false"},
			{name: "locked", kind: typeBoolean, value: "false"},
			{name: "deprovisioned", kind: typeBoolean, value: "false"},
			{name: "last_sign_in_at", kind: typeTime, null: true},
			{name: "raw", kind: typeJSON, null: true, whole: true, note: "The whole data of the newest event, with private metadata."},
			{name: "created_at", kind: typeTime, null: true, note: "Clerk's time. NULL until an event of the user itself has arrived."},
			{name: "updated_at", kind: typeTime, null: true, note: "Clerk's time."},
			{name: "deleted_at", kind: typeTime, null: true, note: "When the user was deleted in Clerk. NULL for all others."},
		},
	},
	{
		name: "organizations", model: "Organization", deleted: true,
		note: "An organization. Of one that was deleted in Clerk, only id, clerk_id and deleted_at are left: your foreign keys hold.",
		columns: []column{
			{name: "id", kind: typeUUID, primary: true, note: "Made from clerk_id: the same after a rebuild of the tables."},
			{name: "clerk_id", kind: typeText, collateC: true, unique: true, note: "org_…, the claim o.id of a session token."},
			{name: "name", kind: typeText, null: true},
			{name: "slug", kind: typeText, null: true, note: "Not unique: that of a deleted organization can be used again."},
			{name: "image_url", kind: typeText, null: true},
			{name: "created_by", kind: typeText, null: true, note: "The Clerk id of a user."},
			{name: "public_metadata", kind: typeJSON, value: "'{}'"},
			{name: "raw", kind: typeJSON, null: true, whole: true, note: "The whole data of the newest event, with private metadata."},
			{name: "created_at", kind: typeTime, null: true, note: "Clerk's time. NULL until an event of the organization itself has arrived."},
			{name: "updated_at", kind: typeTime, null: true, note: "Clerk's time."},
			{name: "deleted_at", kind: typeTime, null: true, note: "When the organization was deleted in Clerk. NULL for all others."},
		},
	},
	{
		name: "org_memberships", model: "OrgMembership",
		note:   "The place of a user in an organization. A membership that has ended has no row.",
		unique: []string{"user_id", "org_id"}, indexed: "org_id",
		columns: []column{
			{name: "id", kind: typeUUID, primary: true, note: "Made from clerk_id: the same after a rebuild of the tables."},
			{name: "clerk_id", kind: typeText, collateC: true, unique: true, note: "orgmem_…"},
			{name: "user_id", kind: typeUUID, parent: "users", parentID: "id"},
			{name: "org_id", kind: typeText, collateC: true, parent: "organizations", parentID: "clerk_id", note: "The Clerk id of the organization, the claim o.id of a session token."},
			{name: "role", kind: typeText, note: "As Clerk's webhooks write it, org:admin; the claim o.rol is without the prefix."},
			{name: "permissions", kind: typeTexts, value: "'{}'"},
			{name: "public_metadata", kind: typeJSON, value: "'{}'"},
			{name: "created_at", kind: typeTime, null: true, note: "Clerk's time."},
			{name: "updated_at", kind: typeTime, null: true, note: "Clerk's time."},
		},
	},
}

// private are the tables in the same schema that only clerksync itself reads.
var private = []string{
	"backfill_organizations", "backfill_run", "backfill_segments", "clerksync_migrations", "clerksync_rls_migrations", "entity_heads",
	"event_log", "seats", "sync_status",
}

// modelOf returns the name of the model of a table.
func modelOf(name string) string {
	return tables[slices.IndexFunc(tables, func(t table) bool { return t.name == name })].model
}

// camel returns a name of SQL as it is in JavaScript.
func camel(name string) string {
	words := strings.Split(name, "_")
	for i, word := range words[1:] {
		words[i+1] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, "")
}

// comment puts a mark before every line of a text.
func comment(mark, text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(mark+" "+line, " \n") + "\n")
	}
	return b.String()
}

// aligned writes lines whose cells are separated by tabs as columns.
func aligned(lines []string) string {
	var widths []int
	for _, line := range lines {
		cells := strings.Split(line, "\t")
		for i, cell := range cells[:len(cells)-1] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		cells := strings.Split(line, "\t")
		if len(cells) > 1 {
			for i := range cells[:len(cells)-1] {
				cells[i] += strings.Repeat(" ", widths[i]-len(cells[i]))
			}
		}
		b.WriteString(strings.TrimRight(strings.Join(cells, " "), " ") + "\n")
	}
	return b.String()
}
