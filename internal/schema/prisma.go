package schema

import (
	"fmt"
	"strings"
)

var prismaTypes = map[columnType][2]string{ // the type, and what of PostgreSQL it does not say
	typeUUID:    {"String", " @db.Uuid"},
	typeText:    {"String", ""},
	typeTexts:   {"String[]", ""},
	typeBoolean: {"Boolean", ""},
	typeJSON:    {"Json", ""},
	typeTime:    {"DateTime", " @db.Timestamptz(6)"},
}

var prismaDefaults = map[columnType]string{typeTexts: "[]", typeBoolean: "false", typeJSON: `"{}"`}

// prisma returns the models of Prisma, as prisma format leaves them.
func prisma(name string) string {
	var b strings.Builder
	b.WriteString(comment("//", fmt.Sprintf(`The tables of clerksync, by "clerksync schema prisma": run it again after an upgrade of clerksync.

clerksync writes them, you read them. Save this as prisma/clerk.prisma beside your own
models. In your schema.prisma:

  datasource db {
    provider = "postgresql"
    schemas  = ["public", "%[1]s"]
  }

In prisma.config.ts, so that Migrate leaves the tables alone, and knows what your foreign
keys refer to (clerksync schema sql >prisma/clerk.sql):

  import { readFileSync } from "node:fs"

  schema: "prisma",
  experimental: { externalTables: true },
  tables: {
    external: [
%[2]s    ],
  },
  migrations: { initShadowDb: readFileSync("prisma/clerk.sql", "utf8") },

A model of your own that belongs to a user and an organization, with its other side added
to User and Organization below, here posts Post[]:

  model Post {
    id           String       @id @default(uuid()) @db.Uuid
    title        String
    authorId     String       @map("author_id") @db.Uuid
    author       User         @relation(fields: [authorId], references: [id])
    orgId        String       @map("org_id")
    organization Organization @relation(fields: [orgId], references: [clerkId])

    @@index([orgId])
    @@schema("public")
  }

The index on email has WHERE email IS NOT NULL. Prisma calls that @unique, and for reads it
is: findUnique({ where: { email } }) finds one user at most. PostgreSQL takes no foreign
key to such an index: refer to id or clerkId, which stay when an address changes.

Left out is raw, the whole payload of Clerk with private metadata.
`, name, prismaExternal(name))))
	for _, t := range tables {
		b.WriteString("\n" + comment("///", t.note) + "model " + t.model + " {\n" + prismaFields(t))
		b.WriteString("\n")
		if len(t.unique) > 0 {
			var fields []string
			for _, c := range t.unique {
				fields = append(fields, camel(c))
			}
			fmt.Fprintf(&b, "  @@unique([%s], map: %q)\n", strings.Join(fields, ", "), t.index("key", t.unique...))
		}
		if t.indexed != "" {
			fmt.Fprintf(&b, "  @@index([%s], map: %q)\n", camel(t.indexed), t.index("idx", t.indexed))
		}
		fmt.Fprintf(&b, "  @@map(%q)\n  @@schema(%q)\n}\n", t.name, name)
	}
	return b.String()
}

// prismaExternal returns the lines that name every table of the schema: Migrate would
// report one that it does not know as drift.
func prismaExternal(name string) string {
	var b strings.Builder
	for _, t := range tables {
		fmt.Fprintf(&b, "      \"%s.%s\",\n", name, t.name)
	}
	for _, t := range private {
		fmt.Fprintf(&b, "      \"%s.%s\",\n", name, t)
	}
	return b.String()
}

// prismaFields returns the fields of a model: those that are columns, then the relations.
func prismaFields(t table) string {
	var fields, relations []string
	for _, c := range t.models() {
		if c.note != "" {
			fields = append(fields, "  /// "+c.note)
		}
		typ := prismaTypes[c.kind]
		kind, attributes := typ[0], ""
		if c.null {
			kind += "?"
		}
		if c.primary {
			attributes += " @id"
		}
		if c.unique {
			attributes += fmt.Sprintf(" @unique(map: %q)", t.index("key", c.name))
		}
		if c.value != "" {
			attributes += " @default(" + prismaDefaults[c.kind] + ")"
		}
		if c.camel() != c.name {
			attributes += fmt.Sprintf(" @map(%q)", c.name)
		}
		fields = append(fields, "  "+c.camel()+"\t"+kind+"\t"+strings.TrimSpace(attributes+typ[1]))
		if c.parent != "" {
			field := strings.ToLower(modelOf(c.parent))
			relations = append(relations, fmt.Sprintf("  %s\t%s\t@relation(fields: [%s], references: [%s], onDelete: NoAction, onUpdate: NoAction)",
				field, modelOf(c.parent), c.camel(), camel(c.parentID)))
		}
	}
	for _, child := range tables {
		for _, c := range child.columns {
			if c.parent == t.name {
				relations = append(relations, "  memberships\t"+child.model+"[]\t")
			}
		}
	}
	return aligned(append(fields, relations...))
}
