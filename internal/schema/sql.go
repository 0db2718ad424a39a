package schema

import (
	"fmt"
	"strings"
)

// ddl returns the statements that make the tables, without what only clerksync uses.
func ddl(name string) string {
	var b strings.Builder
	b.WriteString(comment("--", `The tables of clerksync, by "clerksync schema sql": run it again after an upgrade of clerksync.

For tools that read DDL (sqlc, jOOQ), for a test database of your application, and for
Prisma's shadow database. Not for the database that clerksync writes: its tables are made
by clerksync migrate up, and have columns and indexes of its own besides.
`))
	fmt.Fprintf(&b, "\nCREATE SCHEMA IF NOT EXISTS %q;\n", name)
	for _, t := range tables {
		fmt.Fprintf(&b, "\n%sCREATE TABLE %q.%s (\n", comment("--", t.note), name, t.name)
		var lines []string
		for i, c := range t.columns {
			if c.note != "" {
				lines = append(lines, "    -- "+c.note)
			}
			kind := strings.Replace(string(c.kind), "timestamp with time zone", "timestamptz", 1)
			if c.collateC {
				kind += ` COLLATE "C"`
			}
			var constraints []string
			if c.primary {
				constraints = append(constraints, "PRIMARY KEY")
			} else if !c.null {
				constraints = append(constraints, "NOT NULL")
			}
			if c.value != "" {
				constraints = append(constraints, "DEFAULT "+c.value)
			}
			if c.unique && !c.null {
				constraints = append(constraints, "UNIQUE")
			}
			if c.parent != "" {
				constraints = append(constraints, fmt.Sprintf("REFERENCES %q.%s (%s)", name, c.parent, c.parentID))
			}
			line := "    " + c.name + "\t" + kind + "\t" + strings.Join(constraints, " ")
			if i < len(t.columns)-1 || len(t.unique) > 0 {
				line = strings.TrimRight(line, "\t") + ","
			}
			lines = append(lines, line)
		}
		if len(t.unique) > 0 {
			lines = append(lines, "    UNIQUE ("+strings.Join(t.unique, ", ")+")")
		}
		b.WriteString(aligned(lines) + ");\n")
		for _, c := range t.columns {
			if c.unique && c.null {
				fmt.Fprintf(&b, "\nCREATE UNIQUE INDEX %s ON %q.%s (%s) WHERE %[4]s IS NOT NULL;\n", t.index("key", c.name), name, t.name, c.name)
			}
		}
		if t.indexed != "" {
			fmt.Fprintf(&b, "\nCREATE INDEX %s ON %q.%s (%s);\n", t.index("idx", t.indexed), name, t.name, t.indexed)
		}
	}
	for _, t := range tables {
		if t.deleted {
			fmt.Fprintf(&b, "\n-- Without the rows of what was deleted in Clerk.\nCREATE VIEW %q.active_%s WITH (security_invoker = true) AS SELECT * FROM %[1]q.%[2]s WHERE deleted_at IS NULL;\n", name, t.name)
		}
	}
	return b.String()
}
