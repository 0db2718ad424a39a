//go:build examples

package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// noEngine keeps the prisma program from downloading an engine, which validate and
// generate do not use.
const noEngine = "PRISMA_SCHEMA_ENGINE_BINARY=/bin/true"

// TestPrintedModels: the models that clerksync schema prints are valid and well-formatted
// for Prisma and Drizzle, queries through them and through the types of the rows compile, and
// they find what Clerk's webhooks have brought.
func TestPrintedModels(t *testing.T) {
	t.Parallel()
	c := startClerksync(t)
	c.send(t, "user.created", "organization.created", "organizationMembership.created", "user.created--ben")
	dir := filepath.Join(folder, "schema-test")
	printModels(t, dir)
	env := []string{"DATABASE_URL=" + c.DatabaseURL, noEngine}
	db := c.connect(t)

	for _, args := range [][]string{{"validate"}, {"format", "--check"}, {"generate"}} {
		output(t, dir, env, bin(t, "prisma"), args...)
	}
	output(t, dir, env, bin(t, "tsc"))

	// drizzle-kit makes the application's table, and leaves those of clerksync, which are not
	// in the files it manages, alone.
	before := relations(t, db)
	require.Contains(t, before, "clerk.users")
	output(t, dir, env, bin(t, "drizzle-kit"), "push", "--force")
	require.ElementsMatch(t, append(before, "public.posts", "public.posts_pkey"), relations(t, db))
	var name string
	require.NoError(t, db.QueryRow(t.Context(), "SELECT name FROM clerk.users WHERE email = 'ada@example.com'").Scan(&name))

	for _, program := range []string{"prisma", "drizzle", "rows"} {
		t.Run(program, func(t *testing.T) {
			require.JSONEq(t, `{
				"name": "Ada Example", "email": "ada@example.com", "verified": true, "createdAt": "2026-01-12T09:00:00.412Z", "metadata": {},
				"organization": "Acme Analytics", "role": "org:admin", "permissions": [
					"org:sys_profile:manage", "org:sys_profile:delete", "org:sys_memberships:read", "org:sys_memberships:manage",
					"org:sys_domains:read", "org:sys_domains:manage", "org:sys_billing:read", "org:sys_billing:manage",
					"org:reports:read", "org:reports:share"
				],
				"unique": true, "posts": ["Hello by Ada Example"]
			}`, output(t, dir, env, "node", "generated/js/"+program+".js"))
			_, err := db.Exec(t.Context(), "TRUNCATE public.posts")
			require.NoError(t, err)
		})
	}
}

// printModels writes what clerksync schema prints, with the other side of the application's
// model Post added, into the folder for generated files.
func printModels(t *testing.T, dir string) {
	t.Helper()
	generated := filepath.Join(dir, "generated")
	require.NoError(t, os.RemoveAll(generated))
	require.NoError(t, os.MkdirAll(filepath.Join(generated, "prisma"), 0o755))
	for tool, file := range map[string]string{"prisma": "prisma/clerk.prisma", "drizzle": "clerk.ts", "sql": "clerk.sql", "typescript": "rows.ts"} {
		text := output(t, ".", nil, program, "schema", tool)
		if tool == "prisma" {
			text = regexp.MustCompile(`(?m)^  memberships +OrgMembership\[\]$`).ReplaceAllString(text, "$0\n  posts          Post[]")
		}
		require.NoError(t, os.WriteFile(filepath.Join(generated, file), []byte(text), 0o644))
	}
	own, err := os.ReadFile(filepath.Join(dir, "schema.prisma"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(generated, "prisma", "schema.prisma"), own, 0o644))
}

// relations lists the tables, views and indexes of both schemas.
func relations(t *testing.T, db *pgx.Conn) []string {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT nspname || '.' || relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname IN ('clerk', 'public')`)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return all
}
