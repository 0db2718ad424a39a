package schema

import (
	"fmt"
	"slices"
	"strings"
)

var drizzleTypes = map[columnType]string{ // with the column's name as %q
	typeUUID:    "uuid(%q)",
	typeText:    "text(%q)",
	typeTexts:   "text(%q).array()",
	typeBoolean: "boolean(%q)",
	typeJSON:    "jsonb(%q)",
	typeTime:    "timestamp(%q, { withTimezone: true })",
}

var drizzleDefaults = map[columnType]string{typeTexts: "[]", typeBoolean: "false", typeJSON: "{}"}

// drizzle returns the tables of Drizzle.
func drizzle(name string) string {
	var b strings.Builder
	b.WriteString(comment("//", `The tables of clerksync, by "clerksync schema drizzle": run it again after an upgrade of clerksync.

clerksync writes them, you read them. Save this as src/db/clerk.ts, and keep it out of what
drizzle-kit manages: it makes what the files of schema export, and push takes what the
schemas of schemaFilter have besides for tables to rename or drop. In drizzle.config.ts:

  schema: "./src/db/schema.ts",
  schemaFilter: ["public"],

A table of your own, in src/db/schema.ts, that belongs to a user and an organization:

  export const posts = pgTable("posts", {
    id: uuid("id").primaryKey().defaultRandom(),
    title: text("title").notNull(),
    authorId: uuid("author_id").notNull().references(() => users.id),
    orgId: text("org_id").notNull().references(() => organizations.clerkId),
  });

Left out is raw, the whole payload of Clerk with private metadata.
`))
	makes, builders := "clerk.table", []string{"boolean", "jsonb", "pgSchema", "text", "timestamp", "unique", "uniqueIndex", "uuid"}
	schema := fmt.Sprintf("export const clerk = pgSchema(%q);\n\n", name)
	if name == "public" { // which Drizzle does not take as a schema's name
		makes, schema = "pgTable", ""
		builders[slices.Index(builders, "pgSchema")] = "pgTable"
	}
	fmt.Fprintf(&b, "import { sql } from \"drizzle-orm\";\nimport { %s } from \"drizzle-orm/pg-core\";\n\n%s", strings.Join(builders, ", "), schema)
	for i, t := range tables {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%sexport const %s = %s(%q, {\n", jsComment("", t.note), camel(t.name), makes, t.name)
		constraints := ""
		for _, c := range t.models() {
			b.WriteString(jsComment("  ", c.note))
			fmt.Fprintf(&b, "  %s: "+drizzleTypes[c.kind], c.camel(), c.name)
			if c.primary {
				b.WriteString(".primaryKey()")
			}
			if !c.null && !c.primary {
				b.WriteString(".notNull()")
			}
			if c.value != "" {
				fmt.Fprintf(&b, ".default(%s)", drizzleDefaults[c.kind])
			}
			switch {
			case c.unique && c.null:
				constraints += fmt.Sprintf("  uniqueIndex(%q).on(t.%s).where(sql`%s IS NOT NULL`),\n", t.index("key", c.name), c.camel(), c.name)
			case c.unique:
				fmt.Fprintf(&b, ".unique(%q)", t.index("key", c.name))
			}
			if c.parent != "" {
				fmt.Fprintf(&b, ".references(() => %s.%s)", camel(c.parent), camel(c.parentID))
			}
			b.WriteString(",\n")
		}
		if len(t.unique) > 0 {
			var fields []string
			for _, c := range t.unique {
				fields = append(fields, "t."+camel(c))
			}
			constraints += fmt.Sprintf("  unique(%q).on(%s),\n", t.index("key", t.unique...), strings.Join(fields, ", "))
		}
		if constraints != "" {
			b.WriteString("}, (t) => [\n" + constraints + "]);\n")
		} else {
			b.WriteString("});\n")
		}
	}
	return b.String()
}

// jsComment returns a comment that editors show for what follows it, or "".
func jsComment(indent, text string) string {
	if text == "" {
		return ""
	}
	return indent + "/** " + text + " */\n"
}
