package cli

import "github.com/clerksync/clerksync/internal/schema"

type schemaCmd struct {
	Tool   string `arg:"" enum:"${tools}" help:"What to print for: ${tools}."`
	Schema string `name:"schema" env:"CLERKSYNC_SCHEMA" default:"${schema}" help:"Schema of the tables."`
}

func (c *schemaCmd) Help() string {
	return `The models are those of this version's tables, and no database is needed:

  prisma      models with @@schema, for a file beside your own models
  drizzle     tables with pgSchema, for drizzle-orm
  sql         DDL: for sqlc and jOOQ, for a test database, for Prisma's shadow database
  typescript  types of the rows, for pg and postgres.js

What is printed begins with a comment: where to save it, the lines of configuration that
keep migrations of the tool away from the tables, and how a table of your own refers to
them. clerksync alone writes the tables.

  clerksync schema prisma >prisma/clerk.prisma`
}

func (c *schemaCmd) Run(s *session) error {
	if err := schema.Print(s.stdout, c.Tool, c.Schema); err != nil {
		return usageError(err.Error())
	}
	return nil
}
